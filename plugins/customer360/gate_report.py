"""A gate's report as one page that needs nothing else: no network, no style sheets of others.

Great Expectations' own data docs lie beside it; their looks come from the internet, and a gate that
has failed at night is read where there may be none.
"""

import html
from dataclasses import dataclass
from pathlib import Path

from customer360.notify import Finding

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; vertical-align: top }
th, td { border-bottom: 1px solid #ddd }
.failed { background: #fde8e8 }
.failed td:first-child { color: #a40000; font-weight: 600 }
.warned { background: #fff6dd }
.passed td:first-child { color: #1a6b1a }
"""


@dataclass(frozen=True)
class Check:
    """One expectation and what came of it.

    Attributes:
        status: ``passed``, ``warned`` or ``failed``.
        found: rows and keys in words; no values of personal columns.
        count: the rows alone.
        kind: rule, volume or freshness.
        source: the source system that it is about, if it is about one.
        name: what is checked, in the same words from run to run.
        severity: ``stop`` or ``warn``.
        observed: rows that broke the rule; for a check of volume, all rows.
    """

    table: str
    rule: str
    status: str
    found: str
    count: str = ""
    kind: str = "rule"
    source: str | None = None
    name: str = ""
    severity: str = "stop"
    observed: int | None = None

    def __str__(self) -> str:
        return f"{self.table}: {self.rule}: {self.found}"

    def finding(self) -> Finding:
        """The check for a person who is not at the report: counts, no keys."""
        table = self.table.removeprefix("audit.").replace("__", ".")
        return Finding(self.kind, self.source, f"{table}: {self.rule}: {self.count}")


@dataclass(frozen=True)
class Section:
    """A table that stands below the checks.

    Attributes:
        note: what its rows mean.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        head = "".join(f"<th>{html.escape(column)}" for column in self.columns)
        rows = "\n".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.rows
        )
        return (
            f"<h2>{html.escape(self.title)}</h2><p>{html.escape(self.note)}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def write_page(
    path: Path, layer: str, run_id: str, checks: list[Check], section: Section | None = None
) -> None:
    """Write the page; what has failed stands first."""
    order = ("failed", "warned", "passed")
    counts = {status: sum(check.status == status for check in checks) for status in order}
    rows = "\n".join(
        f'<tr class="{check.status}">'
        + "".join(
            f"<td>{html.escape(text)}</td>"
            for text in (check.status, check.table, check.rule, check.found)
        )
        + "</tr>"
        for check in sorted(checks, key=lambda check: order.index(check.status))
    )
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{layer}: {said}</title>'
        f"<style>{STYLE}</style><h1>Gate {html.escape(layer)}: {said}</h1>"
        f'<p>Run {html.escape(run_id)}. <a href="{layer}/index.html">Data docs</a></p>'
        "<table><thead><tr><th>Status<th>Table<th>Rule<th>Found</tr></thead>"
        f"<tbody>{rows}</tbody></table>{section or ''}</html>\n",
        encoding="utf-8",
    )
