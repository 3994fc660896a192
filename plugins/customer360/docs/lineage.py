"""From a column of a mart back to the columns of the source systems that it is made of.

What belongs here: reading compiled SQL with sqlglot, one model after the other, and following the
columns. What does not: running or compiling anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

DIALECT = "duckdb"

RAW_COLUMNS = ("_version_at", "_as_of", "_is_deleted", "_row_hash", "_batch")
"""What every table of the raw layer has beside its contract's columns."""

TRACED = "customer_360"
"""The mart whose columns are traced."""

UNREAD = "unread"
"""Stands for the source where a model's SQL is more than sqlglot reads."""

ROWS = "*"
"""Stands for the column where what counts is which rows there are: a count, or a word for each."""

Column = tuple[str, str]
"""(relation, column); a relation is ``schema.name``."""


@dataclass(frozen=True)
class Lineage:
    """One way from a mart's column to a column where it begins.

    Attributes:
        through: the models between, nearest to the mart first.
        source_column: ``*`` where the column says how many rows there are, or that there is one.
        source, source_table: where it begins; ``source`` is ``identity`` where identity resolution
            says it, ``scores`` where a model does, ``meta`` where the raw layer does, ``unread``
            where the way cannot be followed further.
    """

    table: str
    column: str
    source: str
    source_table: str
    source_column: str
    through: tuple[str, ...]


class Warehouse:
    """The compiled models of a manifest and which columns each is made of."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        """``manifest``: dbt's, of a run that compiled every model."""
        self.sources: dict[str, tuple[str, str]] = {}
        self.columns: dict[str, list[str]] = {}
        self.made_of: dict[Column, set[Column]] = {}
        for node in manifest["sources"].values():
            relation = f"{node['schema']}.{node['identifier']}"
            self.sources[relation] = (node["source_name"], node["name"])
            # Tables of the decision state are declared without columns: those asked of them exist.
            if node["columns"]:
                self.columns[relation] = [*node["columns"], *RAW_COLUMNS]
        for node in _in_order(manifest):
            relation = f"{node['schema']}.{node['alias'] or node['name']}"
            sql = node.get("compiled_code")
            if node["resource_type"] == "seed" or not sql:
                self.sources[relation] = ("seeds", node["name"])
                self.columns[relation] = list(node["columns"])
                continue
            try:
                self._read(relation, sql, list(node["columns"]))
            except SqlglotError:
                # The way ends there and says so; the other columns' ways are still told.
                self.sources[relation] = (UNREAD, node["name"])
                self.columns[relation] = list(node["columns"])

    def trace(self, table: str, column: str, schema: str = "main") -> list[Lineage]:
        """Where a column of a mart begins, shortest way first; a constant begins nowhere."""
        found: dict[tuple[str, str, str], Lineage] = {}
        seen = set()
        waiting: list[tuple[Column, tuple[str, ...]]] = [((f"{schema}.{table}", column), ())]
        while waiting:
            (relation, name), through = waiting.pop(0)
            if (relation, name) in seen:
                continue
            seen.add((relation, name))
            if relation in self.sources:
                source, source_table = self.sources[relation]
                key = (source, source_table, name)
                found.setdefault(key, Lineage(table, column, *key, through[1:]))
                continue
            behind = (*through, relation.partition(".")[2])
            origins = sorted(self.made_of.get((relation, name), ()))
            waiting.extend((origin, behind) for origin in origins)
        return sorted(
            found.values(), key=lambda one: (one.source, one.source_table, one.source_column)
        )

    def _read(self, relation: str, sql: str, declared: list[str]) -> None:
        tree = sqlglot.parse_one(sql, read=DIALECT)
        tables = list(tree.find_all(exp.Table))
        for table in tables:
            table.set("catalog", None)
        if isinstance(tree, exp.Select) and tree.is_star and len(tables) == 1:
            # Everything of a table without declared columns: the contract says what that is.
            self.columns.setdefault(f"{tables[0].db}.{tables[0].name}", declared)
        schema: dict[str, Any] = {}
        for table in tree.find_all(exp.Table):
            held = self.columns.get(f"{table.db}.{table.name}")
            if table.db and held:
                schema.setdefault(table.db, {})[table.name] = dict.fromkeys(held, "varchar")
        tree = qualify(
            tree,
            dialect=DIALECT,
            schema=schema,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        for union in reversed(list(tree.find_all(exp.SetOperation))):
            _by_position(union)
        scope = build_scope(tree)
        assert isinstance(tree, exp.Query)
        self.columns[relation] = list(tree.named_selects)
        # All columns at once and nothing copied: one by one takes minutes for the whole warehouse.
        roots = lineage(
            None, tree, schema, dialect=DIALECT, scope=scope, trim_selects=False, copy=False
        )
        named = {cte.alias: cte.this for cte in tree.find_all(exp.CTE)}
        for name, root in roots.items():
            self.made_of[relation, name] = {*_origins(root)} or {*_counted(root, named)}
        self.made_of[relation, ROWS] = {*_rows(tree, named)}


def trace(manifest: Mapping[str, Any], table: str = TRACED) -> list[Lineage]:
    """Where each column of a mart begins."""
    warehouse = Warehouse(manifest)
    return [
        way
        for column in warehouse.columns[f"main.{table}"]
        for way in warehouse.trace(table, column)
    ]


def _origins(root: Node) -> Iterator[Column]:
    seen = {id(root)}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node.expression, exp.Table) and node.expression.db:
            table = node.expression
            yield f"{table.db}.{table.name}", node.name.rpartition(".")[2].strip('"')
        waiting += [each for each in node.downstream if id(each) not in seen]
        seen.update(id(each) for each in node.downstream)


def _counted(root: Node, named: Mapping[str, exp.Expr]) -> Iterator[Column]:
    """Rows that a column without columns behind it stands for: counted, or told apart by a word."""
    waiting = [(root, False)]
    while waiting:
        node, is_one_of_several = waiting.pop()
        waiting += [(each, len(node.downstream) > 1) for each in node.downstream]
        if not node.downstream and (is_one_of_several or node.expression.find(exp.Count)):
            yield from _rows(node.source, named)


def _rows(query: exp.Expr, named: Mapping[str, exp.Expr]) -> Iterator[Column]:
    """The tables whose rows a query has: what it selects from first, through names and brackets."""
    if isinstance(query, exp.SetOperation):
        for side in (query.left, query.right):
            yield from _rows(_query(side), named)
        return
    first = query.find(exp.From)
    begin = first.this if first else None
    if isinstance(begin, exp.Subquery):
        yield from _rows(_query(begin), named)
    elif isinstance(begin, exp.Table) and begin.db:
        yield f"{begin.db}.{begin.name}", ROWS
    elif isinstance(begin, exp.Table) and begin.name in named:
        yield from _rows(named[begin.name], {k: v for k, v in named.items() if k != begin.name})


def _by_position(union: exp.SetOperation) -> None:
    """Write a union by name as one by position, which is what lineage is read from."""
    if not union.args.get("by_name"):
        return
    union.set("by_name", False)
    sides = [_query(each) for each in (union.left, union.right)]
    names = list(dict.fromkeys(name for side in sides for name in side.named_selects))
    for side in sides:
        for select in [side] if isinstance(side, exp.Select) else _selects(side):
            held = dict(zip(select.named_selects, select.selects, strict=True))
            select.set(
                "expressions",
                [held.get(name) or exp.alias_(exp.null(), name, quoted=True) for name in names],
            )


def _query(side: exp.Expr) -> exp.Query:
    found = side.unnest()
    assert isinstance(found, exp.Query)
    return found


def _selects(side: exp.Query) -> list[exp.Select]:
    """The selects that a union is made of, outermost level only."""
    if isinstance(side, exp.SetOperation):
        return [*_selects(_query(side.left)), *_selects(_query(side.right))]
    assert isinstance(side, exp.Select)
    return [side]


def _in_order(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Models and seeds, each after what it reads."""
    nodes = {
        key: node
        for key, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed")
    }
    ordered: dict[str, Mapping[str, Any]] = {}

    def visit(key: str) -> None:
        if key in ordered or key not in nodes:
            return
        for needed in nodes[key].get("depends_on", {}).get("nodes", []):
            visit(needed)
        ordered[key] = nodes[key]

    for key in nodes:
        visit(key)
    return list(ordered.values())
