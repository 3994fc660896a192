"""A nightly build without scores, and what it leaves: table by table."""

import datetime as dt

from customer360 import increments, pipeline, publish, raw, state
from customer360.content import snapshot_hash
from customer360.declarations import declared_sources
from customer360.exceptions import SourceError
from customer360.settings import Settings
from customer360.transform import VAULT_FILE, WORKSPACE_FILE, published_tables
from customer360.warehouse import connect


def night(settings: Settings, as_of: dt.date, run_id: str) -> str | None:
    """Extract, load, resolve, build and publish a day; why the build was full, None: it was not."""
    extract_all(settings, as_of)
    return build(settings, as_of, run_id)


def extract_all(settings: Settings, as_of: dt.date) -> None:
    """Read every source; one that cannot be read is stale, if policy lets the day go on."""
    for source in declared_sources(settings):
        try:
            pipeline.extract(settings, source.name, as_of)
        except SourceError:
            pipeline.mark_stale(settings, source.name, as_of)


def build(settings: Settings, as_of: dt.date, run_id: str) -> str | None:
    """:func:`night` of what has landed."""
    pipeline.begin(settings, as_of, run_id)
    pipeline.load_raw(settings, as_of, run_id)
    raw.approve(settings)
    told = pipeline.resolve_identities(settings, as_of, run_id)
    pipeline.build_marts(settings, as_of, run_id)
    publish_built(settings, as_of, run_id)
    why: str | None = told["why_full"]
    return why


def publish_built(settings: Settings, as_of: dt.date, run_id: str) -> None:
    """Publish the marts of a run that has no scores, and keep its workspace."""
    folder = settings.work_dir / run_id
    with connect(settings, folder / pipeline.MARTS_FILE) as connection:
        connection.execute("drop schema if exists scores cascade; drop schema changes cascade")
        there = connection.execute("select table_name from duckdb_tables()").fetchall()
    tables = {
        name: declared for name, declared in published_tables(settings).items() if (name,) in there
    }
    path = publish.publish(
        settings,
        state.engine(settings),
        folder / pipeline.MARTS_FILE,
        run_id,
        as_of,
        {"tables": tables},
        vault=folder / VAULT_FILE,
    )
    increments.keep(settings, folder / WORKSPACE_FILE, path)


def contents(settings: Settings) -> dict[str, str]:
    """Hash of every published table, and of the kept ones that they are made from."""
    published = snapshot_hash(publish.snapshot_path(settings), settings)["tables"]
    kept = snapshot_hash(increments.kept_path(settings), settings)["tables"]
    return {
        name: table["hash"]
        for name, table in {**published, **kept}.items()
        if not name.startswith(("identity.", "increment."))
    }


def rebuilt(settings: Settings, as_of: dt.date) -> dict[str, str]:
    """:func:`contents` of the same day, made from landing and the decision state alone."""
    increments.kept_path(settings).unlink()
    settings.raw_path.unlink()
    assert build(settings, as_of, "rebuilt") == "no earlier build is kept"
    return contents(settings)


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names of tables that are not the same in both."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
