"""``customer360 metric``: a measure from the published snapshot, and what it means."""

import datetime as dt
from typing import Any

import click

from customer360.metrics import MONTH, Answer, ask, load_definitions
from customer360.output import JSON_OPTION, print_json
from customer360.settings import load_settings

ASK = "ask"


class MetricGroup(click.Group):
    """A group whose unknown commands are names of measures."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or the question for a measure of that name."""
        if args[0] not in self.commands:
            return ASK, self.commands[ASK], args
        return super().resolve_command(ctx, args)


@click.group(cls=MetricGroup, context_settings={"help_option_names": ["-h", "--help"]})
def metric() -> None:
    """A measure of the company, from the published snapshot.

    \b
    customer360 metric NAME --by month,tier    what it was
    customer360 metric show NAME               what it means, and what has changed in that
    customer360 metric list                    which there are
    """


@metric.command(name=ASK, hidden=True)
@click.argument("name")
@click.option(
    "--by",
    default=MONTH,
    show_default=True,
    help="Dimensions with commas (`metric show NAME` lists them); without month: one month.",
)
@click.option("--month", metavar="YYYY-MM", help="That month alone; default: the last whole one.")
@click.option("--snapshot", default="current", help="A name of `snapshot list`, or a day.")
@JSON_OPTION
def ask_(name: str, by: str, month: str | None, snapshot: str, as_json: bool) -> None:
    """What a measure was, by month and other dimensions.

    \b
    Example: customer360 metric retention_rate --by month,tier
    """
    dimensions = [each.strip() for each in by.split(",") if each.strip()]
    answer = ask(
        load_settings(), name, dimensions, month=_month(month) if month else None, snapshot=snapshot
    )
    if as_json:
        print_json(
            {
                "measure": answer.name,
                **answer.measure.model_dump(include={"title", "says", "unit", "better"}),
                "by": list(answer.by),
                "as_of": answer.as_of,
                "snapshot": answer.snapshot,
                "rows": answer.rows,
            }
        )
    else:
        _show_answer(answer)


@metric.command(name="list")
@JSON_OPTION
def list_(as_json: bool) -> None:
    """Every measure.

    \b
    Example: customer360 metric list
    """
    measures = load_definitions().measures
    if as_json:
        print_json({"measures": {name: one.title for name, one in measures.items()}})
        return
    for name, one in measures.items():
        click.echo(f"{name:<28}{one.title}")


@metric.command()
@click.argument("name")
@JSON_OPTION
def show(name: str, as_json: bool) -> None:
    """What a measure means, how it can be broken down, and its change log.

    \b
    Example: customer360 metric show retention_rate
    """
    definitions = load_definitions()
    one = definitions.find(name)
    dimensions = definitions.dimensions(name)
    if as_json:
        print_json({"measure": name, **one.model_dump(mode="json"), "by": dimensions})
        return
    click.echo(f"{name}: {one.title}\n\n{one.says.strip()}\n")
    for side, part in (("numerator", one.numerator), ("denominator", one.denominator)):
        if part is not None:
            told = {**part.model_dump(exclude_none=True, exclude={"of"})}
            words = ", ".join(f"{key} {value}" for key, value in told.items())
            click.echo(f"{side:<12}{words} (of {definitions.rows[part.of].table})")
    click.echo(f"{'by':<12}{', '.join(dimensions)}")
    click.echo(f"{'unit':<12}{one.unit}, better: {one.better}")
    click.echo(f"{'owner':<12}{one.owner}")
    click.echo(f"{'since':<12}{one.since}")
    for change in one.changes:
        click.echo(f"{'changed':<12}{change.on}: {change.what}")


def _month(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(f"{text[:7]}-01")
    except ValueError:
        raise click.BadParameter(f"'{text}' is no month; say YYYY-MM") from None


def _show_answer(answer: Answer) -> None:
    click.echo(f"{answer.measure.title} ({answer.measure.unit}), as of {answer.as_of}", err=True)
    columns = [*answer.by, "numerator", "denominator", "value"]
    units = {"value": answer.measure.unit}
    cells = [[_told(row[column], units.get(column)) for column in columns] for row in answer.rows]
    widths = [max([len(name), *(len(row[at]) for row in cells)]) for at, name in enumerate(columns)]
    for row in [columns, *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def _told(value: Any, unit: str | None) -> str:
    if value is None:
        return "-"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "cents":
        return f"{value / 100:,.2f}"
    if unit in ("ratio", "points"):
        return f"{value:.3f}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
    return str(value)
