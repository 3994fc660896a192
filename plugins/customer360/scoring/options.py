"""The options of the score commands, each said once.

What belongs here: what is asked on the command line. What does not: reading the files that are
named there (``customer360.scoring.mapping``).
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from customer360.output import check_out

Command = Callable[..., Any]

AS_OF = click.option(
    "--as-of", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day that is known."
)


def horizon_option(default: int) -> Callable[[Command], Command]:
    """Option ``--horizon-days``."""
    return click.option(
        "--horizon-days", default=default, show_default=True, type=click.IntRange(1, 730)
    )


def folds_option(explanation: str | None = None) -> Callable[[Command], Command]:
    """Option ``--folds``."""
    return click.option(
        "--folds", default=5, show_default=True, type=click.IntRange(2, 50), help=explanation
    )


def score_command(name: str, *own: Callable[[Command], Command]) -> Callable[[Command], Any]:
    """A command with what every score takes: IN, --mapping, --seed, --out, --json, and its own."""
    decorators = [
        click.command(name),
        click.argument("source", metavar="IN", type=click.Path(path_type=Path)),
        click.option(
            "--mapping",
            "mapping_path",
            required=True,
            type=click.Path(path_type=Path),
            help="YAML file.",
        ),
        *own,
        click.option("--seed", default=42, show_default=True, type=click.IntRange(0)),
        click.option(
            "--out", required=True, type=click.Path(path_type=Path), help="CSV or Parquet."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print figures as one JSON object."),
    ]

    def decorate(function: Command) -> Any:
        @functools.wraps(function)
        def checked(**options: Any) -> None:
            check_out(options["out"], options["source"], options["mapping_path"])
            function(**options)

        command: Any = checked
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate
