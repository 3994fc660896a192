"""Writing the declaration of a new source, its first staging models and marts.

What belongs here: text for sources.yml and dbt, put where it belongs without touching a line that
is there. What does not: finding out what the source holds (``customer360.sources.inspection``).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml
from pydantic import ValidationError

from customer360 import transform
from customer360.config import CompanySources, PersonalClass, Source, Table, companies
from customer360.contracts import sql_type
from customer360.exceptions import ConfigError
from customer360.settings import Settings
from customer360.sources.inspection import FoundTable, identifier
from customer360.warehouse import quote

WITHHELD: frozenset[PersonalClass] = frozenset(
    {"name", "contact", "address", "birthday", "free_text", "sensitive"}
)
"""Classes that a mart made by hand of nobody does not publish."""

ENABLED = "{{{{ '{source}' in var('company_sources', ['{source}']) }}}}"


@dataclass(frozen=True)
class Addition:
    """What is to be written.

    Attributes:
        declaration: the source's lines for sources.yml, without indentation.
        files: path -> text of new dbt files.
        published: table -> its name in the snapshot.
    """

    declaration: str
    files: dict[Path, str]
    published: dict[str, str]


def compose(name: str, system: dict[str, Any], tables: list[FoundTable]) -> Addition:
    """Texts for a source called ``name``.

    Raises:
        ConfigError: what was found cannot be declared.
    """
    declared = {**system, "tables": {table.name: _declare(table) for table in tables}}
    try:
        source = Source.model_validate(declared)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        raise ConfigError(f"source {name}: {place}: {found['msg']}") from None
    files: dict[Path, str] = {}
    published = {}
    models = transform.DBT_PROJECT / "models"
    for table_name, table in source.tables.items():
        stem = f"stg_{name}__{table_name}"
        if (models / "unify" / f"union_{table_name}.sql").exists():
            stem += "_rows"  # the plain name would make it a feed of that entity
        files[models / "staging" / name / f"{stem}.sql"] = _staging(name, table_name, table)
        columns = [
            column for column, known in table.columns.items() if known.personal not in WITHHELD
        ]
        if set(table.key) <= set(columns):
            mart = f"{name}_{table_name}"
            folder = models / "marts" / name
            files[folder / f"{mart}.sql"] = _mart(stem, table_name, table, columns)
            files[folder / f"{mart}.yml"] = _mart_yaml(name, source, mart, table, columns)
            published[table_name] = mart
    text = yaml.safe_dump(
        {name: declared},
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=10_000,
    )
    return Addition(text, files, published)


def write(settings: Settings, name: str, addition: Addition) -> list[Path]:
    """Write everything, sources.yml last.

    Returns:
        The files that were written or added to.

    Raises:
        ConfigError: the source or one of its files is there already, or sources.yml would not be
            valid; nothing is written then.
    """
    path = settings.config_dir / "sources.yml"
    text = added(path.read_text(encoding="utf-8"), settings.company, name, addition.declaration)
    for file in addition.files:
        if file.exists():
            raise ConfigError(f"{file} is there already; nothing was written")
    for file, content in addition.files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    aside = path.with_name(".sources.yml.new")
    aside.write_text(text, encoding="utf-8")
    aside.chmod(path.stat().st_mode & 0o777)
    aside.replace(path)
    return [*addition.files, path]


def refuse_known(settings: Settings, name: str) -> None:
    """See that no company has a source called ``name``.

    Raises:
        ConfigError: one has; staging models are found by the source's name.
    """
    for company, declared in companies(settings).items():
        if name in declared.sources:
            raise ConfigError(
                f"sources.yml: company {company} has a source '{name}' already; give this one "
                "another name, or edit that entry to add a table"
            )


def added(text: str, company: str, name: str, declaration: str) -> str:
    """``text`` of sources.yml with the lines of a source behind the company's others.

    Raises:
        ConfigError: it cannot be added by lines, or would not be valid.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    section = _child(root, company)
    sources = _child(section, "sources") if section else None
    if not isinstance(sources, yaml.MappingNode) or sources.flow_style or not sources.value:
        raise ConfigError(f"sources.yml: {company} has no block `sources:` to add to")
    indent = " " * sources.value[0][0].start_mark.column
    lines = text.splitlines(keepends=True)
    end = _last_line(sources) + 1
    if end == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    block = [f"{indent}{line}" for line in declaration.splitlines(keepends=True)]
    whole = "".join([*lines[:end], "\n", *block, *lines[end:]])
    try:
        checked = CompanySources.model_validate(yaml.safe_load(whole)[company])
    except (ValidationError, yaml.YAMLError):
        raise ConfigError(
            f"source {name}: its declaration would not be valid; see it with --dry-run"
        ) from None
    assert name in checked.sources
    return whole


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _last_line(node: yaml.Node) -> int:
    """Line of the last value; a block's own end mark lies behind comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    # A block scalar ends at the beginning of the next line.
    return mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line


def _declare(table: FoundTable) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column in table.columns:
        entry: dict[str, Any] = {"type": column.type}
        if column.is_required:
            entry["required"] = True
        if column.personal != "none":
            entry["personal"] = column.personal
        if column.description:
            entry["description"] = column.description
        columns[column.name] = entry
    cursor = {"cursor": {"column": table.cursor, "look_back_days": 2}} if table.cursor else {}
    return {**table.where, "key": table.key, **cursor, "columns": columns}


def _reserved() -> frozenset[str]:
    rows = duckdb.execute(
        "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    ).fetchall()
    return frozenset(row[0] for row in rows)


def _name(column: str) -> str:
    """A column's name in the warehouse: plain where its own can be made so."""
    return identifier(column) if column.isascii() else column


def _is_plain(column: str, reserved: frozenset[str]) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", column)) and column not in reserved


def _speak(column: str, reserved: frozenset[str]) -> str:
    return column if _is_plain(column, reserved) else quote(column)


def _staging(source: str, name: str, table: Table) -> str:
    reserved = _reserved()
    cells = []
    for column in table.columns:
        shown, wanted = _speak(column, reserved), _speak(_name(column), reserved)
        cells.append(f"    {shown}" + ("" if shown == wanted else f" as {wanted}"))
    listed = ",\n".join(cells)
    rows = f"{{{{ source_rows('{source}', '{name}') }}}} as {name}_rows"
    return f"select\n{listed}\nfrom {rows}\n"


def _mart(stem: str, name: str, table: Table, columns: list[str]) -> str:
    reserved = _reserved()
    withheld = [_name(column) for column in table.columns if column not in columns]
    note = ""
    if withheld:
        note = f"-- Not published, because they seem to be personal: {', '.join(withheld)}.\n"
    cells = ",\n".join(f"    {_speak(_name(column), reserved)}" for column in columns)
    return f"{note}select\n{cells}\nfrom {{{{ ref('{stem}') }}}} as {name}_rows\n"


def _mart_yaml(name: str, source: Source, mart: str, table: Table, columns: list[str]) -> str:
    reserved = _reserved()
    document = {
        "version": 2,
        "models": [
            {
                "name": mart,
                "description": f"One row a {', '.join(map(_name, table.key))} of {source.title}.",
                "config": {
                    "enabled": ENABLED.format(source=name),
                    "contract": {"enforced": True},
                    "meta": {
                        "owner": source.owner,
                        "steward": source.owner,
                        "freshness": "daily",
                        "key": [_name(column) for column in table.key],
                        "kind": "data",
                    },
                },
                "columns": [
                    {
                        "name": _name(column),
                        **({} if _is_plain(_name(column), reserved) else {"quote": True}),
                        "data_type": sql_type(table.columns[column]),
                        "description": table.columns[column].description
                        or f"{column}, as the source has it.",
                    }
                    for column in columns
                ],
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
