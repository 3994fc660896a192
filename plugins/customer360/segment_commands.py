"""``customer360 segment``: what the rules of ``config/audiences.yml`` would find, before they do.

What belongs here: sizes and overlaps on the published snapshot. What does not: the rules
(``config``), the nightly tables (dbt).
"""

from itertools import combinations
from typing import Any

import click

from customer360.config import load_config
from customer360.output import JSON_OPTION, print_json
from customer360.publish import snapshot_path
from customer360.settings import load_settings
from customer360.transform import check_rules
from customer360.warehouse import connect, quote

SHOWN_OVERLAPS = 10


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def segment() -> None:
    """Rule segments and next best actions of config/audiences.yml."""


@segment.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@JSON_OPTION
def preview(names: tuple[str, ...], as_json: bool) -> None:
    """Sizes and overlaps of the rules as they stand in the file now, on the published snapshot.

    Nothing is written: change a rule, preview it, and the next run takes it.

    \b
    Example: customer360 segment preview high_value lapsed
    """
    settings = load_settings()
    config = load_config(settings)
    check_rules(config)
    rules = {name: one.rule for name, one in config.audiences.segments.items()}
    unknown = sorted(set(names) - set(rules))
    if unknown:
        raise click.ClickException(
            f"audiences.yml has no segment {', '.join(unknown)}; it has {', '.join(rules)}"
        )
    wanted = {name: rule for name, rule in rules.items() if not names or name in names}
    actions = (
        {}
        if names
        else {name: one.rule for name, one in config.audiences.next_best_actions.items()}
    )
    with connect(settings, snapshot_path(settings), read_only=True) as connection:
        found = _sizes(connection, wanted, actions)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['customers']:,} customers as of {found['as_of']}")
    for one in found["segments"]:
        click.echo(f"{one['name']:<28}{one['size']:>10,}  {one['share']:>6.1%}")
    click.echo(f"{'in none':<28}{found['in_none']:>10,}")
    for one in found["overlaps"][:SHOWN_OVERLAPS]:
        click.echo(
            f"  {one['size']:,} are in both {one['a']} and {one['b']}: {one['share_of_a']:.0%} of "
            f"the one, {one['share_of_b']:.0%} of the other"
        )
    for one in found["next_best_actions"]:
        click.echo(
            f"{one['name']:<28}{one['first']:>10,}  act on it first, for {one['size']:,} it holds"
        )


def _sizes(connection: Any, rules: dict[str, str], actions: dict[str, str]) -> dict[str, Any]:
    """Counts of every rule, of every pair, and of the first action that holds."""
    flags = [*rules, *(f"action {name}" for name in actions)]
    columns = ", ".join(
        f"coalesce(({rule}), false) as {quote(flag)}"
        for flag, rule in zip(flags, [*rules.values(), *actions.values()], strict=True)
    )
    pairs = list(combinations(rules, 2))
    first = [
        " and ".join(
            [quote(flag), *(f"not {quote(before)}" for before in flags[len(rules) : place])]
        )
        for place, flag in enumerate(flags)
        if place >= len(rules)
    ]
    counted = [
        "count(*)",
        "max(as_of)",
        "count(*) filter (not (" + (" or ".join(map(quote, rules)) or "false") + "))",
        *(f"count(*) filter ({quote(flag)})" for flag in flags),
        *(f"count(*) filter ({quote(a)} and {quote(b)})" for a, b in pairs),
        *(f"count(*) filter ({condition})" for condition in first),
    ]
    given = f"select as_of{', ' if columns else ''}{columns} from main.customer_360"
    row = connection.execute(f"select {', '.join(counted)} from ({given})").fetchall()[0]
    total, as_of, in_none, *counts = row
    sizes = dict(zip(flags, counts, strict=False))
    both = counts[len(flags) : len(flags) + len(pairs)]
    firsts = counts[len(flags) + len(pairs) :]
    overlaps = [
        {
            "a": a,
            "b": b,
            "size": size,
            "share_of_a": size / sizes[a],
            "share_of_b": size / sizes[b],
        }
        for (a, b), size in zip(pairs, both, strict=True)
        if size
    ]
    return {
        "as_of": None if as_of is None else as_of.isoformat(),
        "customers": total,
        "segments": [
            {"name": name, "rule": rule, "size": sizes[name], "share": sizes[name] / max(1, total)}
            for name, rule in rules.items()
        ],
        "in_none": in_none,
        "overlaps": sorted(overlaps, key=lambda one: -one["size"]),
        "next_best_actions": [
            {"name": name, "rule": rule, "size": sizes[f"action {name}"], "first": first_size}
            for (name, rule), first_size in zip(actions.items(), firsts, strict=True)
        ],
    }
