"""The ``customer360 score`` group: each score in a module of its own, imported when called."""

import importlib

import click

# name -> (module:attribute, one line of help)
SCORES: dict[str, tuple[str, str]] = {
    "churn": ("customer360.scoring.churn_command:churn", "Who stops buying? From transactions."),
    "churn-labelled": (
        "customer360.scoring.labelled:churn_labelled",
        "Who leaves? From a labelled table of customers.",
    ),
    "sentiment": ("customer360.scoring.sentiment:sentiment", "How do people feel? From texts."),
    "uplift": (
        "customer360.scoring.uplift:uplift",
        "Whom does a campaign move? From a randomised campaign.",
    ),
    "value": ("customer360.scoring.value_command:value", "What will customers spend?"),
}


class _Scores(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002, click's signature
        return sorted(SCORES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002, click's signature
        if cmd_name not in SCORES:
            return None
        module, _, attribute = SCORES[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002, click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(SCORES.items())])


@click.group(cls=_Scores, context_settings={"help_option_names": ["-h", "--help"]})
def score() -> None:
    """Score any table of customers.

    \b
    Example:
      customer360 score churn orders.csv --mapping orders.yml --as-of 2026-05-31 \\
          --horizon-days 28 --out churn.parquet --json
    """
