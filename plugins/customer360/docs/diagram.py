"""The marts and how they refer to each other, as one SVG that needs nothing else."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH, ROW, GAP, HEAD, MARGIN = 300, 17, 16, 24, 24
SHOWN_COLUMNS = 6
CENTRE = "customers"


@dataclass(frozen=True)
class Table:
    """A mart in the diagram; ``refers`` are (column, table) by dbt's relationship tests."""

    name: str
    area: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    refers: tuple[tuple[str, str], ...]

    @property
    def shown(self) -> list[str]:
        """Its key first, then what refers to others, then a few more."""
        order = [*self.key, *(column for column, _ in self.refers), *self.columns]
        return list(dict.fromkeys(order))[:SHOWN_COLUMNS]

    @property
    def height(self) -> int:
        """Of its box, in pixels."""
        return HEAD + ROW * (len(self.shown) + (len(self.columns) > len(self.shown))) + 6


def tables(manifest: Mapping[str, Any]) -> list[Table]:
    """The published marts of dbt's manifest."""
    refers: dict[str, set[tuple[str, str]]] = {}
    for node in manifest["nodes"].values():
        tested = node.get("test_metadata") or {}
        if node["resource_type"] == "test" and tested.get("name") == "relationships":
            to = str(tested["kwargs"]["to"]).split("'")[1]
            table = str(node["attached_node"]).rpartition(".")[2]
            refers.setdefault(table, set()).add((str(node["column_name"]), to))
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and "customer_id" in node["columns"]:
            refers.setdefault(node["name"], set()).add(("customer_id", CENTRE))
    return [
        Table(
            node["name"],
            node["fqn"][-2],
            tuple(node["meta"]["key"]),
            tuple(node["columns"]),
            tuple(sorted(refers.get(node["name"], ()))),
        )
        for node in sorted(manifest["nodes"].values(), key=lambda node: node["fqn"])
        if node["resource_type"] == "model" and "key" in node["meta"]
    ]


def svg(marts: list[Table]) -> str:
    """Columns of boxes by area, the customers in the middle, a line for each reference."""
    centre = [mart for mart in marts if mart.name == CENTRE]
    others = [mart for mart in marts if mart.name != CENTRE]
    half = sum(mart.height + GAP for mart in others) / 4
    piles: list[list[Table]] = [[], [], [], []]
    filled = 0.0
    for mart in others:
        piles[min(3, int(filled / half))].append(mart)
        filled += mart.height + GAP
    lanes = [piles[0], piles[1], centre, piles[2], piles[3]]
    tall = max(sum(mart.height + GAP for mart in lane) for lane in lanes) + 2 * MARGIN
    place: dict[str, tuple[int, int, Table]] = {}
    for number, lane in enumerate(lanes):
        y = MARGIN if number != 2 else (tall - sum(mart.height for mart in lane)) // 2
        for mart in lane:
            place[mart.name] = (MARGIN + number * (WIDTH + 90), y, mart)
            y += mart.height + GAP
    lines = [
        _line(place[mart.name], place[to])
        for mart in marts
        for _, to in mart.refers
        if to in place and to != mart.name
    ]
    boxes = [_box(*where) for where in place.values()]
    wide = MARGIN * 2 + len(lanes) * WIDTH + (len(lanes) - 1) * 90
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" '
        f'width="{wide}" height="{tall}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(lines)}{"".join(boxes)}</svg>'
    )


def _box(x: int, y: int, mart: Table) -> str:
    rows = []
    refers = {column for column, _ in mart.refers}
    for number, column in enumerate(mart.shown):
        mark = "key" if column in mart.key else "→" if column in refers else ""
        line = y + HEAD + ROW * (number + 1) - 3
        rows.append(
            f'<text x="{x + 10}" y="{line}">{html.escape(column)}</text>'
            f'<text x="{x + WIDTH - 10}" y="{line}" text-anchor="end" fill="#888">{mark}</text>'
        )
    more = len(mart.columns) - len(mart.shown)
    if more > 0:
        line = y + HEAD + ROW * (len(mart.shown) + 1) - 3
        rows.append(f'<text x="{x + 10}" y="{line}" fill="#888">and {more} more</text>')
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{mart.height}" rx="4" fill="#fff" '
        f'stroke="#456"/><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEAD}" rx="4" '
        f'fill="#e4ecf4"/><text x="{x + 10}" y="{y + 16}" font-weight="600">'
        f'{html.escape(mart.name)}</text><text x="{x + WIDTH - 10}" y="{y + 16}" '
        f'text-anchor="end" fill="#567">{html.escape(mart.area)}</text>{"".join(rows)}'
    )


def _line(start: tuple[int, int, Table], end: tuple[int, int, Table]) -> str:
    x1, y1 = start[0], start[1] + HEAD // 2
    x2, y2 = end[0], end[1] + HEAD // 2
    if x2 > x1:
        x1 += WIDTH
    elif x1 > x2:
        x2 += WIDTH
    bend = (x1 + x2) // 2 if x1 != x2 else x1 - 40
    return (
        f'<path d="M{x1} {y1} C{bend} {y1} {bend} {y2} {x2} {y2}" fill="none" stroke="#9ab"/>'
        f'<circle cx="{x2}" cy="{y2}" r="3" fill="#567"/>'
    )
