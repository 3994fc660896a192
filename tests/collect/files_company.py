"""A company with one source, a folder of files, and short ways to ingest and look."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml

from customer360 import landing, raw
from customer360.config import load_config
from customer360.settings import PROJECT, Settings, load_settings

FAR = dt.date(2030, 1, 1)


@dataclass
class Drops:
    """The declaration of source ``drops`` with table ``things``, and its folder."""

    root: Path
    source: dict[str, Any]
    zone: str = "Asia/Shanghai"

    @property
    def files(self) -> Path:
        return self.root / "systems"

    @property
    def table(self) -> dict[str, Any]:
        return self.source["tables"]["things"]

    @property
    def settings(self) -> Settings:
        return load_settings()

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write(self) -> None:
        folder = self.root / "config"
        folder.mkdir(exist_ok=True)
        sections = {
            name: yaml.safe_load((PROJECT / "config" / f"{name}.yml").read_text(encoding="utf-8"))[
                "complete_journey"
            ]
            for name in ("audiences", "policies")
        }
        sections["policies"].pop("trust")  # it names fields of another company
        sections["sources"] = {
            "title": "Drops",
            "currency": "CNY",
            "time_zone": self.zone,
            "first_day": dt.date(2026, 1, 1),
            "sources": {"drops": self.source},
        }
        for name, section in sections.items():
            text = yaml.safe_dump({"drops": section}, sort_keys=False, allow_unicode=True)
            (folder / f"{name}.yml").write_text(text, encoding="utf-8")


def make_drops(root: Path) -> Drops:
    made = Drops(
        root,
        {
            "title": "Drops",
            "owner": "somebody",
            "stage": "basic",
            "format": "json_lines",
            "path": str(root / "systems"),
            "tables": {
                "things": {
                    "file": "*.jsonl",
                    "each_file": "once",
                    "day_in_name": "%Y%m%d",
                    "key": ["id"],
                    "columns": {
                        "id": {"type": "bigint", "required": True},
                        "name": {"type": "text"},
                    },
                }
            },
        },
    )
    made.files.mkdir(parents=True)
    made.write()
    return made


def ingest(drops: Drops, day: dt.date) -> tuple[landing.Batch, bool]:
    config = load_config(drops.settings)
    [found] = landing.extract_source(drops.settings, config, "drops", day)
    return found


def load(drops: Drops, day: dt.date = FAR, *, approve: bool = True) -> dict[str, dict[str, int]]:
    totals = raw.load(drops.settings, load_config(drops.settings), day, "run")
    if approve:
        raw.approve(drops.settings)
    return totals


def query(drops: Drops, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(drops.settings.raw_path), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def state(drops: Drops, day: dt.date = FAR) -> list[tuple[Any, ...]]:
    """The rows as of ``day``, as the warehouse sees them."""
    cutoff = load_config(drops.settings).sources.day_end(day)
    return query(
        drops,
        "select columns(name -> name not like '\\_%' escape '\\') from ("
        f"select * from drops.things where _version_at < timestamp '{cutoff}' "
        "qualify row_number() over (partition by id "
        "order by _version_at desc, _as_of desc, _row_hash desc) = 1) "
        "where not _is_deleted order by id",
    )
