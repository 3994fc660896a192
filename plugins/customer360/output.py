"""What commands give back: lines, one JSON object for tools, and the file that was asked for."""

import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Any

import click

from customer360.exceptions import ConfigError

TABLE_SUFFIXES = (".csv", ".parquet", ".pq")

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def print_json(value: dict[str, Any]) -> None:
    """Print ``value`` as one JSON object; days and moments as ISO 8601, paths as text."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def check_out(out: Path, *inputs: Path | None) -> None:
    """See that OUT can be written and is none of the inputs, before anything is computed.

    Makes OUT's folder.

    Raises:
        ConfigError: names OUT and the mend.
    """
    if out.suffix.lower() not in TABLE_SUFFIXES:
        raise ConfigError(f"--out {out}: end its name in .csv or .parquet")
    for given in inputs:
        if given is not None and given.exists() and out.exists() and out.samefile(given):
            raise ConfigError(f"--out {out} would overwrite what is read: name another file")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file in it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ConfigError(
            f"--out {out} cannot be written ({error.strerror}): name a file in a folder that is "
            "yours"
        ) from None
