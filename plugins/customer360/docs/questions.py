"""The questions of ``docs/questions``: SQL files whose first line is the question in words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from customer360.settings import PROJECT

FOLDER = PROJECT / "docs" / "questions"


@dataclass(frozen=True)
class Question:
    """A question in words, and the query on a published snapshot that answers it."""

    name: str
    text: str
    sql: str


def questions(folder: Path = FOLDER) -> list[Question]:
    """All of them, by number."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        first, _, sql = path.read_text(encoding="utf-8").partition("\n")
        found.append(Question(path.stem, first.removeprefix("--").strip(), sql.strip()))
    return found


def answer(
    connection: duckdb.DuckDBPyConnection, question: Question
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows."""
    cursor = connection.execute(question.sql)
    return [column[0] for column in cursor.description], cursor.fetchall()


def listed(found: list[Question]) -> str:
    """``docs/questions.md``: every question with its file."""
    lines = [
        "# Questions and the query that answers them",
        "",
        "Each query runs on a published snapshot as it stands. `customer360 docs questions`",
        "prints the answers, `customer360 docs build` makes a page of them.",
        "",
        *(f"- [{one.text}](questions/{one.name}.sql)" for one in found),
    ]
    return "\n".join(lines) + "\n"
