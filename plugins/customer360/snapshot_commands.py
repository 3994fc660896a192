"""``customer360 snapshot``: what is published, what it holds, what changed, and taking it back."""

import dataclasses

import click

from customer360 import content, publish, state
from customer360.output import JSON_OPTION, print_json
from customer360.settings import load_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def snapshot() -> None:
    """Published snapshots of the warehouse: DuckDB files that never change.

    SNAPSHOT is a name of `snapshot list`, a path, a day (its last), or "current".
    """


@snapshot.command()
@JSON_OPTION
def path(as_json: bool) -> None:
    """The current snapshot; open it with read_only=True.

    \b
    Example: duckdb -readonly "$(customer360 snapshot path)"
    """
    found = publish.snapshot_path(load_settings())
    if as_json:
        print_json({"path": found})
    else:
        click.echo(found)


@snapshot.command(name="list")
@JSON_OPTION
def list_(as_json: bool) -> None:
    """What is kept, newest day first; * is current, - was taken back.

    \b
    Example: customer360 snapshot list
    """
    settings = load_settings()
    engine = state.opened(settings)
    found = publish.snapshot_list(settings, engine)
    if as_json:
        print_json({"snapshots": [dataclasses.asdict(one) for one in found]})
        return
    for one in found:
        mark = "*" if one.current else "-" if one.withdrawn else " "
        click.echo(f"{mark} {one.name}  {one.size / 1e6:.1f} MB  {one.published_at:%F %T} UTC")


@snapshot.command()
@click.argument("snapshot_", metavar="[SNAPSHOT]", default="current")
@JSON_OPTION
def info(snapshot_: str, as_json: bool) -> None:
    """What a snapshot says about itself: run, as-of, model versions, row counts.

    \b
    Example: customer360 snapshot info 2026-03-01
    """
    settings = load_settings()
    found = publish.find_snapshot(settings, snapshot_)
    said = {"name": found.name, **publish.read_info(settings, found)}
    if as_json:
        print_json(said)
        return
    for key, value in said.items():
        if isinstance(value, dict):
            click.echo(f"{key}")
            for name, entry in value.items():
                click.echo(f"  {name}  {entry}")
        else:
            click.echo(f"{key}  {value}")


@snapshot.command(name="hash")
@click.argument("snapshot_", metavar="[SNAPSHOT]", default="current")
@JSON_OPTION
def hash_(snapshot_: str, as_json: bool) -> None:
    """Content hash, independent of row order, run ids and clock.

    "hash" covers data and scores; scores are comparable where the model versions agree. With
    --json also the hash of each table.

    \b
    Example: customer360 snapshot hash --json | jq .data
    """
    settings = load_settings()
    found = content.snapshot_hash(publish.find_snapshot(settings, snapshot_), settings)
    if as_json:
        print_json(found)
        return
    for part in ("hash", "data", "scores"):
        click.echo(f"{part:7}{found[part]}")


@snapshot.command()
@click.argument("older", metavar="A")
@click.argument("newer", metavar="B", default="current")
@JSON_OPTION
def diff(older: str, newer: str, as_json: bool) -> None:
    """What changed from snapshot A to B (default: current), table by table.

    \b
    Example: customer360 snapshot diff 2026-02-28 2026-03-01
    """
    settings = load_settings()
    paths = [publish.find_snapshot(settings, reference) for reference in (older, newer)]
    found = content.snapshot_diff(paths[0], paths[1], settings)
    if as_json:
        print_json({"a": paths[0].name, "b": paths[1].name, **found})
        return
    click.echo(f"{paths[0].name} -> {paths[1].name}")
    for name, table in found["tables"].items():
        counts = "  ".join(f"{what} {table[what]}" for what in ("added", "changed", "removed"))
        note = "" if table["key"] else "  (whole rows: no unique key)"
        columns = "".join(
            f"  {what.replace('_', ' ')}: {', '.join(table[what])}"
            for what in ("columns_added", "columns_removed", "columns_retyped")
            if what in table
        )
        click.echo(f"{name}  {counts}{note}{columns}")
    if found["customers"]:
        merged, split = found["customers"]["merged"], found["customers"]["split"]
        click.echo(f"customer ids  merged {merged}  split {split}")


@snapshot.command()
@click.option("--to", metavar="SNAPSHOT", help="Go to this one instead of the previous.")
@JSON_OPTION
def rollback(to: str | None, as_json: bool) -> None:
    """Take the current snapshot back; the next publish goes on as always.

    \b
    Example: customer360 snapshot rollback
    """
    settings = load_settings()
    engine = state.opened(settings)
    before = publish.snapshot_path(settings)
    target = publish.find_snapshot(settings, to) if to else None
    after = publish.snapshot_rollback(settings, engine, target)
    if as_json:
        print_json({"taken_back": before.name, "current": after.name})
    else:
        click.echo(f"{before.name} is taken back; {after.name} is current")
