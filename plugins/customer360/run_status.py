"""What the last run did, for tools and for people.

What belongs here: reading the steps that runs recorded, and the names under which they are found
again. What does not: the steps (``pipeline``).
"""

import datetime as dt
from typing import Any

from sqlalchemy import Engine

from customer360 import state, trust
from customer360.config import load_config
from customer360.exceptions import Customer360Error
from customer360.settings import Settings

INGEST = "ingest_"
TAKEN_UP = "taken_up"
DELIVER = "deliver_"
SHOWN_WEAK = 5


def ingest_id(as_of: dt.date) -> str:
    """Extraction is no part of a build's run; its steps are kept by day."""
    return f"{INGEST}{as_of.isoformat()}"


def status(settings: Settings) -> dict[str, Any]:
    """The last run, in the shape that tools rely on (README, "What a run tells").

    Raises:
        Customer360Error: nothing has run yet.
    """
    load_config(settings)
    engine = state.opened(settings)
    run = state.last_run(engine)
    if run is None:
        raise Customer360Error(f"company {settings.company} has no run yet: make run")
    ingest = state.run_steps(engine, ingest_id(run["as_of"]))
    # The last attempt of each step is the one that counts.
    done = {step["step"]: step for step in [*ingest, *state.run_steps(engine, run["run_id"])]}
    stale = _settle_stale(done)
    taken_up = done.pop(TAKEN_UP, None)
    if taken_up and all(step["started_at"] > taken_up["started_at"] for step in done.values()):
        taken_up = None  # everything was done anew since
    results = {name: step["result"] or {} for name, step in done.items()}
    audits = [result for name, result in results.items() if name.startswith("audit_")]
    published = results.get("publish", {})
    failed = [name for name, step in done.items() if step["status"] == "failed"]
    exported = results.get("activate", {})
    return {
        "company": settings.company,
        "run_id": run["run_id"],
        "as_of": run["as_of"].isoformat(),
        "status": run["status"],
        "failed_step": failed[0] if failed else None,
        "unbuilt": _unbuilt(engine, run["as_of"]),
        "taken_up": {"at": taken_up["started_at"].isoformat(), **taken_up["result"]}
        if taken_up
        else None,
        "sources": {
            name: {**counts, "stale_days": stale.get(name, 0)}
            for name, counts in results.get("load_raw", {}).get("sources", {}).items()
        },
        "customers": published.get("customers"),
        "checks": {
            kind: sum(audit.get(kind, 0) for audit in audits)
            for kind in ("passed", "warned", "failed")
        },
        "weak_fields": results.get("audit_raw", {}).get("weak_fields", []),
        "warnings": [text for step in results.values() for text in step.get("warnings", [])],
        "model_alarms": results.get("score", {}).get("alarms", []),
        "segments": [
            {"name": name, "size": size} for name, size in published.get("segments", {}).items()
        ],
        "alerts": published.get("alerts"),
        "snapshot": str(settings.snapshots_dir / run["snapshot"]) if run["snapshot"] else None,
        "exports": exported,
        "deliveries": {
            name.removeprefix(DELIVER): result
            for name, result in results.items()
            if name.startswith(DELIVER)
        },
        "model": results.get("score", {}).get("model_version"),
        "models": {
            name: one["model_version"]
            for name, one in results.get("score", {}).get("models", {}).items()
        },
        "reports": str(settings.reports_dir / run["run_id"]),
        "seconds": {
            name: round(step["seconds"], 2)
            for name, step in done.items()
            if step["seconds"] is not None
        },
    }


def _unbuilt(engine: Engine, as_of: dt.date) -> dict[str, Any] | None:
    """The newest day after ``as_of`` whose sources were asked and that was not built."""
    day = state.last_day_of(engine, INGEST)
    if day is None or day <= as_of:
        return None
    last = {step["step"]: step["status"] for step in state.run_steps(engine, ingest_id(day))}
    failed = [name.removeprefix("extract_") for name, ended in last.items() if ended == "failed"]
    return {"as_of": day.isoformat(), "failed_sources": sorted(failed)}


def _settle_stale(done: dict[str, Any]) -> dict[str, int]:
    """Take out of a day's steps what was made good: by a later reading, or by policy.

    Returns:
        source -> days since its last delivery, of sources that the day was built without.
    """
    stale = {}
    for name in [name for name in done if name.startswith("stale_")]:
        source = name.removeprefix("stale_")
        extract = done.get(f"extract_{source}")
        if done[name]["status"] != "done":
            continue
        if extract is not None and extract["started_at"] > done[name]["started_at"]:
            del done[name]
            continue
        done.pop(f"extract_{source}", None)
        stale[source] = int(done[name]["result"]["stale_days"])
    return stale


def _unbuilt_in_words(unbuilt: dict[str, Any]) -> str:
    failed = ", ".join(unbuilt["failed_sources"])
    why = f"could not read {failed}" if failed else "its sources were read, no build has begun"
    return f"{unbuilt['as_of']} is not built: {why}"


def format_summary(status: dict[str, Any]) -> str:
    """``status`` for a person."""
    lines = [
        f"{status['company']} as of {status['as_of']}: {status['status']}"
        + (f" in step {status['failed_step']}" if status["failed_step"] else ""),
        *([f"its gates: {status['reports']}"] if status["failed_step"] else []),
        *([_unbuilt_in_words(status["unbuilt"])] if status["unbuilt"] else []),
        *([_taken_up_line(status["taken_up"])] if status["taken_up"] else []),
        "",
        f"{'source':<20}{'read':>12}{'loaded':>12}{'duplicates':>12}{'quarantined':>12}",
    ]
    for name, counts in status["sources"].items():
        cells = (counts[key] for key in ("read", "loaded", "duplicates", "quarantined"))
        stale = f"   stale: {counts['stale_days']} days" if counts["stale_days"] else ""
        lines.append(f"{name:<20}" + "".join(f"{cell:>12,}" for cell in cells) + stale)
    checks = status["checks"]
    lines += [
        "",
        f"customers  {status['customers'] or 0:,}",
        f"checks     {checks['passed']} passed, {checks['warned']} warned, "
        f"{checks['failed']} failed",
        *[f"           warning: {text}" for text in status["warnings"]],
        *_weak_lines(status["weak_fields"]),
        f"alerts     {status['alerts'] or 0:,} churn alerts",
        "",
        *[f"segment    {part['name']:<24}{part['size']:>8,}" for part in status["segments"]],
        "",
        f"snapshot   {status['snapshot']}",
        *[f"model      {name:<12}{version}" for name, version in status["models"].items()],
        *[f"           alarm: {text}" for text in status["model_alarms"]],
        f"reports    {status['reports']}",
    ]
    for name, done in status["exports"].items():
        changes = f"+{done['added']:,} ~{done['changed']:,} -{done['removed']:,}"
        lines.append(
            f"export     {name:<20}{done['rows']:>8,} rows, {changes}  {done['path'] or ''}"
            if done["path"]
            else f"export     {name:<20}held back: {done['message']}"
        )
    lines += [_delivery_line(name, done) for name, done in status["deliveries"].items()]
    seconds = status["seconds"]
    lines += ["", "seconds    " + ", ".join(f"{name} {spent:g}" for name, spent in seconds.items())]
    lines.append(f"           {sum(seconds.values()):.1f} in all steps")
    return "\n".join(lines)


def _delivery_line(name: str, done: dict[str, Any]) -> str:
    if "rows" not in done:
        return f"delivery   {name:<20}{done.get('error', 'not finished')}"
    changes = f"+{done['added']:,} ~{done['changed']:,} -{done['removed']:,}"
    waits = [f"{done[word]:,} {word}" for word in ("failed", "dead", "unknown") if done[word]]
    held = sum(done["held"].values())
    waits += [f"{held:,} held"] if held else []
    tail = f"  ({', '.join(waits)})" if waits else ""
    return f"delivery   {name:<20}{done['rows']:>8,} rows, {changes}  {done['status']}{tail}"


def _weak_lines(weak: list[dict[str, Any]]) -> list[str]:
    """Weak fields, the worst first; ``--json`` has them all."""
    lines = [
        f"weak       {each['field']}: {each['scale']} {trust.percent(each['share'])} on "
        f"{each['day']}, limit {trust.percent(each['limit'])}"
        for each in weak[:SHOWN_WEAK]
    ]
    if len(weak) > SHOWN_WEAK:
        lines.append(f"           and {len(weak) - SHOWN_WEAK} more")
    return lines


def _taken_up_line(taken_up: dict[str, Any]) -> str:
    moment = dt.datetime.fromisoformat(taken_up["at"])
    runs = ", ".join(taken_up["runs"])
    return f"cut off, and taken up again on {moment:%Y-%m-%d %H:%M} UTC: {runs}"
