"""The ``customer360`` command: one group, each area's commands in a module of its own."""

import importlib
import sys

import click

from customer360 import __version__
from customer360.exceptions import Customer360Error

# name -> (module:attribute, one line of help); modules load only when their command is called,
# so that `customer360 --help` stays fast.
COMMANDS: dict[str, tuple[str, str]] = {
    "alert": ("customer360.engagement.commands:alert", "Open alerts, and answering one."),
    "activate": (
        "customer360.activation.delivery_commands:activate",
        "Send what destinations do not hold yet; --dry-run.",
    ),
    "delivery": (
        "customer360.activation.delivery_commands:delivery",
        "What went to whom; what waits for a person.",
    ),
    "sending": (
        "customer360.activation.delivery_commands:sending",
        "The switch that stops all sending at once.",
    ),
    "demo": ("customer360.demo.commands:demo", "A company to try it on: ten living systems."),
    "docs": (
        "customer360.docs.commands:docs",
        "The warehouse explained, as pages without network.",
    ),
    "export": ("customer360.activation.commands:export", "What was exported, and who holds it."),
    "status": ("customer360.status_commands:status", "What came of the last run."),
    "quarantine": ("customer360.quarantine_commands:quarantine", "Rows that broke their contract."),
    "dbt": ("customer360.status_commands:dbt", "Run dbt by hand with this company's settings."),
    "identity": ("customer360.identity.commands:identity", "Who is who, and why; reviews."),
    "vault": ("customer360.vault_commands:vault_group", "Personal values, for those who may."),
    "metric": ("customer360.metric_commands:metric", "A measure of the company, and its meaning."),
    "segment": ("customer360.segment_commands:segment", "Segments before they are taken."),
    "snapshot": ("customer360.snapshot_commands:snapshot", "What is published; taking it back."),
    "source": ("customer360.source_commands:source", "Source systems: fresh? readable? a new one."),
    "score": ("customer360.scoring.commands:score", "Score any table of customers."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in alphabetical order."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None where the name is unknown."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands with their help without importing them."""
        rows = [(name, COMMANDS[name][1]) for name in self.list_commands(ctx) if name in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Keep customer relationships alive with data."""


def main() -> None:
    """Run the command line; an error that a user can mend is one message and exit code 1."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Customer360Error as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        # A folder that cannot be used, a disk that is full: what and where, without a traceback.
        click.echo(
            f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
