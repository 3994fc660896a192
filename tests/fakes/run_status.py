"""A stand-in for ``customer360.run_status``: tells what the stand-in of the pipeline wrote."""

import json
from typing import Any

from customer360.settings import Settings


def status(settings: Settings) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((settings.data_dir / "fake" / "status.json").read_text())
    return result


def format_summary(status: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in status.items())
