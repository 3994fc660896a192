"""What the score commands leave behind beside OUT: the card, the JSON, and errors to mend."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from customer360.exceptions import ModelError
from models.common.card import ModelCard, render
from models.common.errors import ModelDataError

CARD_FILE = "card.md"


@contextmanager
def models_may_refuse() -> Iterator[None]:
    """Turn what ``models`` refuses into the library's error, which the command line prints."""
    try:
        yield
    except ModelDataError as error:
        raise ModelError(str(error)) from None


def write_card(card: ModelCard, out: Path) -> Path:
    """Write the card beside OUT (``<name>-card/card.md`` and its pictures); return its path."""
    return write_card_into(card, out.with_name(f"{out.stem}-card"))


def write_card_into(card: ModelCard, folder: Path) -> Path:
    """Write ``card.md`` and its pictures into a folder; return the path of ``card.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    rendered = render(card)
    for name, png in rendered.pictures.items():
        (folder / name).write_bytes(png)
    # Last, so that a card that is there is whole.
    path = folder / CARD_FILE
    path.write_text(rendered.markdown, encoding="utf-8")
    return path


def report(card: ModelCard, card_path: Path, figures: dict[str, object], as_json: bool) -> None:
    """One JSON object on standard output, or the card for people; progress is on stderr."""
    if as_json:
        click.echo(json.dumps(_finite({**figures, "card": str(card_path)}), ensure_ascii=False))
    else:
        click.echo(render(card).markdown)
        click.echo(f"card with pictures: {card_path}", err=True)


def _finite(value: object) -> object:
    """Values as JSON knows them: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
