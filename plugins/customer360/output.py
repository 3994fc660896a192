"""How commands print: one JSON object on standard output for tools, plain lines for people."""

import datetime as dt
import json
from typing import Any

import click

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def print_json(value: dict[str, Any]) -> None:
    """Print ``value`` as one JSON object; days and moments as ISO 8601, paths as text."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(value)
