"""Building the pages: dbt's own, and ours beside it; none of them asks the network for anything.

What belongs here: which pages there are and what stands on them. What does not: lineage, diagram
and questions themselves.
"""

import csv
import html
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from customer360 import publish
from customer360.config import load_config
from customer360.docs import diagram
from customer360.docs.lineage import TRACED, Lineage, trace
from customer360.docs.questions import answer, questions
from customer360.metrics import load_definitions
from customer360.settings import Settings
from customer360.transform import run_dbt
from customer360.warehouse import connect

WAREHOUSE_PAGE = "warehouse.html"
SHOWN_ROWS = 30

NO_NETWORK = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self' 'unsafe-inline' "
    "'unsafe-eval' data: blob:; connect-src 'none'; form-action 'none'\">"
)
"""Keeps a page from asking anybody for anything, whatever its scripts try."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem }
nav a { margin-right: 1rem } h2 { margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0; font-size: 14px }
th, td { text-align: left; vertical-align: top }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd }
pre { background: #f4f6f8; padding: .7rem; overflow-x: auto; font-size: 13px }
.wide { overflow-x: auto }
.fit svg { width: 96vw; height: auto; margin-left: calc(50% - 48vw) }
"""

PAGES = (
    ("index.html", "Tables"),
    (WAREHOUSE_PAGE, "dbt docs"),
    ("diagram.html", "Diagram"),
    ("questions.html", "Questions"),
    ("metrics.html", "Measures"),
    ("lineage.html", "Lineage"),
)


def build(settings: Settings, target: Path) -> Path:
    """Write the pages of the published snapshot into ``target``; returns the first page."""
    snapshot = publish.snapshot_path(settings)
    target.mkdir(parents=True, exist_ok=True)
    manifest = _dbt_docs(settings, snapshot, target)
    marts = diagram.tables(manifest)
    picture = diagram.svg(marts)
    (target / "diagram.svg").write_text(picture, encoding="utf-8")
    shown = f'<p><a href="diagram.svg">The picture alone</a></p><div class="fit">{picture}</div>'
    _page(target, "diagram.html", "The marts and what they refer to", shown)
    ways = trace(manifest)
    _write_lineage(target, ways)
    with connect(settings, snapshot, read_only=True) as connection:
        _page(
            target,
            "questions.html",
            "Questions, and the query that answers each",
            _asked(connection),
        )
    _page(target, "metrics.html", "Measures", _measures())
    _page(target, "index.html", f"The warehouse of {settings.company}", _tables(manifest, snapshot))
    return target / "index.html"


def _dbt_docs(settings: Settings, snapshot: Path, target: Path) -> dict[str, Any]:
    """dbt's page of the snapshot, and its manifest with every model compiled."""
    with tempfile.TemporaryDirectory(prefix="customer360-docs-") as folder:
        apart = replace(settings, data_dir=Path(folder))
        # A copy, since dbt opens files for writing; raw stays out, for it is restricted.
        marts = Path(folder) / "customer360.duckdb"
        shutil.copyfile(snapshot, marts)
        duckdb.connect(str(apart.raw_path)).close()
        as_of = publish.read_info(settings, snapshot)["as_of"]
        run_dbt(apart, load_config(settings), as_of, marts, ["docs", "generate", "--static"])
        made = Path(folder) / "dbt"
        page = (made / "static_index.html").read_text(encoding="utf-8")
        page = page.replace("<head>", f"<head>{NO_NETWORK}", 1)
        (target / WAREHOUSE_PAGE).write_text(page, encoding="utf-8")
        manifest: dict[str, Any] = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _write_lineage(target: Path, ways: list[Lineage]) -> None:
    columns = ("column", "source", "source_table", "source_column", "through")
    rows = [
        (way.column, way.source, way.source_table, way.source_column, " < ".join(way.through))
        for way in ways
    ]
    with (target / "column_lineage.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("table", *columns), *((TRACED, *row) for row in rows)])
    note = (
        f"<p>From each column of <code>{TRACED}</code> to the columns of the source systems that "
        "it is made of, by the compiled SQL. Where the source is <code>identity</code>, identity "
        "resolution says it; <code>scores</code>: a model; <code>meta</code>: the raw layer's own "
        "records; column <code>*</code>: what counts is which rows there are. The same as a "
        '<a href="column_lineage.csv">CSV</a>.</p>'
    )
    of_column: dict[str, list[Sequence[Any]]] = {}
    for name, *way in rows:
        of_column.setdefault(name, []).append(way)
    shown = "".join(
        f'<details id="{name}"><summary>{name}: {_sources_of(found)}</summary>'
        f"{_table(columns[1:], found)}</details>"
        for name, found in of_column.items()
    )
    _page(target, "lineage.html", "Lineage", note + shown)


def _sources_of(ways: Iterable[Sequence[Any]]) -> str:
    return html.escape(", ".join(sorted({str(source) for source, *_ in ways})))


def _asked(connection: duckdb.DuckDBPyConnection) -> str:
    parts = []
    for question in questions():
        columns, rows = answer(connection, question)
        more = f"<p>and {len(rows) - SHOWN_ROWS} more rows</p>" if len(rows) > SHOWN_ROWS else ""
        parts.append(
            f'<h2 id="{question.name}">{html.escape(question.text)}</h2>'
            f"<pre>{html.escape(question.sql)}</pre>{_table(columns, rows[:SHOWN_ROWS])}{more}"
        )
    return "".join(parts)


def _measures() -> str:
    definitions = load_definitions()
    return _table(
        ("measure", "title", "formula", "unit", "better", "by", "owner", "since", "changes"),
        [
            (
                name, one.title, one.says, one.unit, one.better,
                ", ".join(definitions.dimensions(name)), one.owner, one.since,
                "; ".join(f"{change.on}: {change.what}" for change in one.changes),
            )
            for name, one in definitions.measures.items()
        ],
    )  # fmt: skip


def _tables(manifest: dict[str, Any], snapshot: Path) -> str:
    marts = [
        node
        for node in sorted(manifest["nodes"].values(), key=lambda node: node["fqn"])
        if node["resource_type"] == "model" and "kind" in node["meta"]
    ]
    areas: dict[str, list[str]] = {}
    for node in marts:
        areas.setdefault(node["fqn"][-2], []).append(node["name"])
    listed = [
        (area, " ".join(f'<a href="#{name}">{name}</a>' for name in names))
        for area, names in areas.items()
    ]
    parts = [
        f"<p>Snapshot <code>{html.escape(snapshot.name)}</code>. Most questions begin with "
        f'<a href="#{TRACED}">{TRACED}</a>, one row a customer, or with '
        f'<a href="questions.html">a query that answers the like</a>.</p>',
        "<table>",
        *(f"<tr><th>{area}<td>{links}" for area, links in listed),
        "</table>",
    ]
    for node in marts:
        meta = node["meta"]
        parts.append(
            f'<h2 id="{node["name"]}">{node["name"]}</h2><p>{html.escape(node["description"])} '
            f"Key: {', '.join(meta['key'])}. Owner {meta['owner']}, steward {meta['steward']}, "
            f"{meta['freshness']}.</p>"
        )
        parts.append(
            _table(
                ("column", "type", "what it is"),
                [
                    (column["name"], column["data_type"], column["description"])
                    for column in node["columns"].values()
                ],
            )
        )
    return "".join(parts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(column)}" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape('' if cell is None else str(cell))}" for cell in row)
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</thead><tbody>{body}</tbody></table></div>'


def _page(target: Path, name: str, title: str, body: str) -> None:
    links = "".join(f'<a href="{page}">{told}</a>' for page, told in PAGES)
    (target / name).write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{NO_NETWORK}'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<nav>{links}</nav><h1>{html.escape(title)}</h1>{body}</body></html>\n",
        encoding="utf-8",
    )
