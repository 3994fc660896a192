"""The dbt project's macros without dbt: the same SQL, rendered by Jinja alone, for DuckDB.

What belongs here: loading files of macros. What does not: any SQL (``dbt_project/macros``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from customer360.settings import PROJECT
from customer360.warehouse import quote

ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    extensions=["jinja2.ext.do"],
    autoescape=False,  # noqa: S701, SQL: what goes in stands in the project and its configuration
)


class _DuckDBAdapter:
    """What ``adapter.dispatch`` means to a macro."""

    def __init__(self, macros: Mapping[str, Any]) -> None:
        self._macros = macros

    def dispatch(self, name: str) -> Callable[..., str]:
        for prefix in ("duckdb", "default"):
            macro: Callable[..., str] | None = self._macros.get(f"{prefix}__{name}")
            if macro is not None:
                return macro
        raise jinja2.UndefinedError(f"no macro {name} for DuckDB")

    def quote(self, name: str) -> str:
        return quote(name)


def macro_file(name: str) -> Path:
    """Where a file of macros is."""
    return PROJECT / "dbt_project" / "macros" / name


def load_macros(*files: str, **known: Any) -> dict[str, Any]:
    """Name -> macro of ``files``, each of which may use those before it and ``known``."""
    macros: dict[str, Any] = {"return": lambda value: value, **known}
    macros["adapter"] = _DuckDBAdapter(macros)
    for file in files:
        text = macro_file(file).read_text(encoding="utf-8")
        module = ENVIRONMENT.from_string(text, globals=macros).module
        macros |= {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return macros
