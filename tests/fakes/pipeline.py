"""A stand-in for ``customer360.pipeline`` that lets scheduler tests run in seconds.

It writes what it does to ``<data_dir>/fake/steps.jsonl`` and obeys ``<data_dir>/fake/faults.json``:
``{"load_raw": "gate"}`` raises, ``{"extract:till": "crash"}`` ends the process with SIGKILL (once),
``{"score": "sleep:5"}`` takes its time. Nothing but tests imports it (``sitecustomize.py``).
"""

import datetime as dt
import json
import os
import signal
import time
from typing import Any

from customer360.exceptions import GateError, SourceError
from customer360.settings import Settings


def _do(settings: Settings, step: str, **facts: Any) -> dict[str, Any]:
    folder = settings.data_dir / "fake"
    folder.mkdir(parents=True, exist_ok=True)
    faults_path = folder / "faults.json"
    faults = json.loads(faults_path.read_text()) if faults_path.exists() else {}
    with (folder / "steps.jsonl").open("a") as file:
        file.write(
            json.dumps({"step": step, "at": time.time(), "pid": os.getpid(), **facts}) + "\n"
        )
    fault = faults.get(f"{step}@{facts.get('as_of')}") or faults.get(step)
    if fault == "gate":
        raise GateError(f"{step}: 3 rows break 'quantity at least 0' (keys 17, 18, 19). Mend them.")
    if fault == "source":
        raise SourceError(f"{step}: transactions.parquet is not there. Put it back.")
    if fault == "unexpected":
        raise ValueError("Wang Xiaoming 13812345678")
    if fault == "crash":
        faults_path.write_text(json.dumps({k: v for k, v in faults.items() if k != step}))
        os.kill(os.getpid(), signal.SIGKILL)
    if fault and fault.startswith("sleep:"):
        time.sleep(float(fault.removeprefix("sleep:")))
    return {"step": step, "rows": 7, **facts}


def extract(settings: Settings, source: str, as_of: dt.date) -> dict[str, Any]:
    return _do(settings, f"extract:{source}", as_of=str(as_of))


def extract_hour(settings: Settings, source: str, hour: dt.datetime) -> dict[str, Any]:
    return _do(settings, f"extract_hour:{source}", as_of=hour.isoformat())


def answer_hour(settings: Settings, hour: dt.datetime) -> dict[str, Any]:
    return _do(settings, "answer_hour", as_of=hour.isoformat())


def check_configuration(settings: Settings) -> None:
    """The fake company has none."""


def mark_stale(settings: Settings, source: str, as_of: dt.date) -> dict[str, Any]:
    result = _do(settings, f"stale:{source}", as_of=str(as_of))
    faults = json.loads((settings.data_dir / "fake" / "faults.json").read_text())
    if source not in faults.get("may_be_stale", ""):
        raise GateError(f"source {source} could not be read; policy stops the build.")
    return {**result, "stale_days": 1}


def take_up(settings: Settings, as_of: dt.date, runs: list[str]) -> None:
    _do(settings, "take_up", as_of=str(as_of), runs=runs)


def audit(settings: Settings, as_of: dt.date, run_id: str, layer: str) -> dict[str, Any]:
    return _do(settings, f"audit:{layer}", as_of=str(as_of), run_id=run_id)


def publish(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    result = _do(settings, "publish", as_of=str(as_of), run_id=run_id)
    (settings.data_dir / "fake" / "status.json").write_text(
        json.dumps({"run_id": run_id, "as_of": str(as_of), "customers": 7})
    )
    return result


def deliver(settings: Settings, as_of: dt.date, run_id: str, destination: str) -> dict[str, Any]:
    return _do(settings, f"deliver:{destination}", as_of=str(as_of), run_id=run_id)


def deliver_hour(settings: Settings, hour: dt.datetime, destination: str) -> dict[str, Any]:
    return _do(settings, f"deliver_hour:{destination}", as_of=hour.isoformat())


def train(settings: Settings, as_of: dt.date, run_id: str, model: str) -> dict[str, Any]:
    return {"due": None, **_do(settings, f"train:{model}", as_of=str(as_of), run_id=run_id)}


def __getattr__(name: str) -> Any:
    steps = ("begin", "load_raw", "resolve_identities", "build_marts", "train_if_needed", "score",
             "build_scored_marts", "engage", "activate")  # fmt: skip
    if name not in steps:
        raise AttributeError(name)

    def step(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
        return _do(settings, name, as_of=str(as_of), run_id=run_id)

    return step
