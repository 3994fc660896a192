"""Mapping files and the tables they describe: how any CSV or Parquet file becomes standard columns.

What belongs here: the shape of a mapping file (one pydantic model a kind of table), reading IN
as it says, typing the standard columns, writing OUT. What does not: features or models
(``models/``), and the mapping of person records, which is the identity commands' own.

Messages name files, columns, rows and counts, never values.
"""

import csv
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import duckdb
import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from customer360.exceptions import ConfigError, SourceError
from customer360.settings import load_settings

Kind = Literal["transactions", "labelled", "texts", "campaign"]


class _Strict(BaseModel):
    """A section of a mapping file: an unknown key is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Mapping(_Strict):
    """Keys that every mapping file may have.

    Attributes:
        date_format: strptime format of the date columns; ISO 8601 without it.
        delimiter: one character, or ``whitespace`` for columns aligned with blanks.
        columns: names of the columns, for a file without a header line.
        encoding: of a CSV file; UTF-8, and where that fails GB18030, without it.
        ignore: columns that are read by nobody, such as a second outcome.
    """

    date_format: str | None = None
    delimiter: str | None = None
    columns: list[str] | None = None
    encoding: str | None = None
    ignore: list[str] = Field(default_factory=list)

    def mapped(self) -> dict[str, str]:
        """Standard name -> column of the file, for the fields that are given."""
        fields: _Strict = self.fields  # type: ignore[attr-defined]  # every kind of mapping declares its own
        return {name: column for name, column in fields.model_dump().items() if column is not None}


class TransactionFields(_Strict):
    """One row an order or an order line."""

    customer_id: str
    amount: str
    at: str | None = None
    on: str | None = None
    order_id: str | None = None
    quantity: str | None = None
    product_id: str | None = None
    country: str | None = None


class TransactionMapping(Mapping):
    """Mapping of transactions: ``at`` (a moment) or ``on`` (a day); ``at`` wins over ``on``."""

    fields: TransactionFields


class LabelledFields(_Strict):
    """One row a customer, with what became of it."""

    label: str
    customer_id: str | None = None


class LabelledMapping(Mapping):
    """Mapping of labelled customers; ``label_value`` is the value that means churned."""

    fields: LabelledFields
    label_value: str | int | float | None = None


class TextFields(_Strict):
    """One row a text."""

    text: str
    id: str | None = None
    label: str | None = None
    at: str | None = None


class TextMapping(Mapping):
    """Mapping of texts; ``label_value`` is the value that means positive.

    Without it labels may be 1/0, positive/negative, or stars (the middle star is left out).
    """

    fields: TextFields
    label_value: str | int | float | None = None


class CampaignFields(_Strict):
    """One row a customer of a randomised campaign."""

    treatment: str
    outcome: str
    customer_id: str | None = None


class CampaignMapping(Mapping):
    """Mapping of a campaign: values that mean treated, and that the customer responded.

    Whoever has another ``treatment`` is the control, or, with ``control_value``, only those who
    have that one. ``outcome`` may be a flag or a number (such as spend); ``outcome_value`` names
    the value that counts as a response where it is neither.
    """

    fields: CampaignFields
    treatment_value: str | int | float | None = None
    control_value: str | int | float | None = None
    outcome_value: str | int | float | None = None


MAPPINGS: dict[Kind, type[Mapping]] = {
    "transactions": TransactionMapping,
    "labelled": LabelledMapping,
    "texts": TextMapping,
    "campaign": CampaignMapping,
}

M = TypeVar("M", bound=Mapping)


class _Loader(yaml.SafeLoader):
    """YAML in which ``on``, ``no`` and ``Yes`` are words: ``on`` is a field, ``Yes`` a label."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_mapping(path: Path, mapping_type: type[M]) -> M:
    """Read and check a mapping file.

    Raises:
        ConfigError: the file is missing, is not YAML, or has a key that is not known here.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506, a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"mapping file {path} does not exist; check --mapping") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"mapping file {path} is not YAML{where}; mend it there") from None
    if not isinstance(content, dict) or not isinstance(content.get("fields"), dict):
        known = ", ".join(_field_names(mapping_type))
        raise ConfigError(
            f"mapping file {path} has no `fields:` section; add one that maps {known} to columns"
        )
    try:
        mapping = mapping_type.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(path, mapping_type, error)) from None
    if isinstance(mapping, TransactionMapping) and not (mapping.fields.at or mapping.fields.on):
        raise ConfigError(f"mapping file {path}: map `at` (a moment) or `on` (a day) to a column")
    return mapping


def _field_names(mapping_type: type[Mapping]) -> list[str]:
    annotation = mapping_type.model_fields["fields"].annotation
    assert annotation is not None
    return list(annotation.model_fields)


def _explain(path: Path, mapping_type: type[Mapping], error: ValidationError) -> str:
    """All mistakes of a mapping file in one message, each with its key and the mend."""
    parts = []
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(step) for step in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = (
                _field_names(mapping_type)
                if key.startswith("fields.")
                else list(mapping_type.model_fields)
            )
            parts.append(f"unknown key `{key}` (known: {', '.join(known)})")
        elif problem["type"] == "missing":
            parts.append(f"`{key}` is missing; map it to a column of the file")
        else:
            parts.append(f"`{key}`: {problem['msg']}")
    return f"mapping file {path}: " + "; ".join(parts)


@dataclass(frozen=True)
class ScoringTable:
    """What was read.

    Attributes:
        frame: standard columns under their standard names, features under their own. Ids and
            texts are strings, dates ``datetime64``, amounts float64; features of a CSV file are
            strings, because types are the features' business, not the reader's guess.
        features: columns that are not mapped, in the file's order.
        notes: what a person should know about the reading.
    """

    frame: pd.DataFrame
    features: list[str]
    notes: list[str]


def read_table(path: Path, mapping: Mapping) -> ScoringTable:
    """Read IN as the mapping says; unmapped columns follow only where they are features.

    Raises:
        SourceError: the file is missing, unreadable or empty, a column is not there, or a date
            or amount cannot be read.
    """
    if not path.is_file():
        raise SourceError(f"input file {path} does not exist; check IN")
    with (
        tempfile.TemporaryDirectory(prefix="customer360-") as scratch,
        closing(duckdb.connect()) as connection,
    ):
        connection.execute(f"SET threads = {load_settings().threads}")
        columns = _open(connection, path, mapping, Path(scratch))
        wanted = mapping.mapped()
        ignored = set(mapping.ignore)
        for column in [*wanted.values(), *ignored]:
            if column not in columns:
                raise SourceError(
                    f"{path.name} has no column `{column}`, which the mapping names; "
                    f"its columns are: {', '.join(columns)}"
                )
        features = []
        if isinstance(mapping, LabelledMapping | CampaignMapping):
            taken = {*wanted.values(), *ignored}
            features = [column for column in columns if column not in taken]
            clash = sorted(set(features) & set(_field_names(type(mapping))))
            if clash:
                raise SourceError(
                    f"{path.name} has a feature column named `{clash[0]}`, a name that has a "
                    "meaning here; map it, or list it under `ignore:`"
                )
        frame = _typed(connection, path, mapping, wanted, features)
    if frame.empty:
        raise SourceError(f"{path.name} has no rows; nothing to score")
    notes = []
    if "customer_id" in _field_names(type(mapping)) and "customer_id" not in frame:
        frame.insert(0, "customer_id", [str(row) for row in range(1, len(frame) + 1)])
        notes.append("no customer_id is mapped: rows are numbered from 1")
    if isinstance(mapping, TextMapping) and "id" not in frame:
        frame.insert(0, "id", [str(row) for row in range(1, len(frame) + 1)])
        notes.append("no id is mapped: rows are numbered from 1")
    if "customer_id" in frame:
        _refuse_gaps(path, mapping, frame["customer_id"], wanted)
    return ScoringTable(frame, features, notes)


_YES = {"1", "1.0", "true", "t", "yes", "y", "是"}
_NO = {"0", "0.0", "false", "f", "no", "n", "否"}


def read_flag(values: pd.Series, column: str, meant: str | float | None, key: str) -> pd.Series:
    """Values as 1.0, 0.0 and NaN (missing): ``meant`` is 1, everything else is 0.

    Args:
        values: any column of two values.
        column: its name in the file, for messages.
        meant: the value that counts as yes; without it, words such as yes/no and 1/0 are known.
        key: the mapping's key that sets ``meant``, for messages.

    Raises:
        SourceError: ``meant`` does not occur, or the words are not known.
    """
    words = values.astype("string").str.strip()
    given = words.notna() & (words != "")
    folded = words.str.casefold()
    if meant is not None:
        wanted = str(meant).strip().casefold()
        # Parquet may hold 1.0 where the mapping says 1.
        yes = folded.isin({wanted, f"{wanted}.0"})
        if not yes.any():
            raise SourceError(f"`{column}` never has the value that `{key}` names; check both")
    else:
        yes = folded.isin(_YES)
        unknown = int((given & ~yes & ~folded.isin(_NO)).sum())
        if unknown:
            raise SourceError(
                f"{unknown} values of `{column}` are neither yes/no, true/false nor 1/0; "
                f"set `{key}:` in the mapping to the value that means yes"
            )
    return yes.astype("float64").where(given.astype(bool))


def fixed_order(frame: pd.DataFrame, mapping: Mapping) -> NDArray[np.intp]:
    """Places of the rows in an order that hangs on what they hold, not on where they stand.

    Folds and fits go by it: the same rows shuffled get the same scores. Ids that were only
    numbered when the file was read say where a row stands.
    """
    fields = getattr(mapping, "fields", None)
    numbered = [name for name in ("customer_id", "id") if getattr(fields, name, "") is None]
    words = frame.drop(columns=numbered, errors="ignore").astype("string").fillna("")
    hashes = pd.util.hash_pandas_object(words, index=False).to_numpy()
    return np.argsort(hashes, kind="stable")


def write_scores(frame: pd.DataFrame, path: Path) -> None:
    """Write OUT: Parquet where the name ends so, CSV otherwise; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        if path.suffix == ".parquet":
            frame.to_parquet(partial, index=False)
        else:
            frame.to_csv(partial, index=False)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _open(
    connection: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping, scratch: Path
) -> list[str]:
    """Make the file the view ``source`` and return its columns.

    CSV is read with a schema of text columns and in strict mode: left to sniff, DuckDB loses
    rows of ragged files in silence, and its own decoding of GBK corrupts digits.
    """
    location = str(path)
    if path.suffix.lower() in {".parquet", ".pq"}:
        try:
            source = connection.read_parquet(location)
        except duckdb.Error:
            raise SourceError(
                f"{path.name} is not a readable Parquet file; write it again, or give a CSV"
            ) from None
    else:
        text = _as_utf8(path, mapping.encoding)
        delimiter = mapping.delimiter or ""
        if delimiter == "whitespace":
            text = "\n".join("\t".join(line.split()) for line in text.splitlines() if line.strip())
            delimiter = "\t"
        head = text.partition("\n")[0]
        if not delimiter:
            delimiter = max(",;\t|", key=head.count)
        names = mapping.columns or [
            name.strip() for name in next(csv.reader([head.rstrip("\r")], delimiter=delimiter), [])
        ]
        if not any(names):
            raise SourceError(f"{path.name} is empty; give a file with a header and rows")
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise SourceError(
                f"{path.name} has the column `{doubled[0]}` more than once; rename one of them"
            )
        copy = scratch / "source.csv"
        copy.write_text(text, encoding="utf-8", newline="")
        try:
            source = connection.read_csv(
                str(copy),
                delimiter=delimiter,
                header=mapping.columns is None,
                quotechar='"',
                escapechar='"',
                auto_detect=False,
                columns=dict.fromkeys(names, "VARCHAR"),
                strict_mode=True,
                null_padding=False,
                ignore_errors=False,
                max_line_size=20_000_000,
            )
            source.create("source")
        except duckdb.Error as error:
            line = next((x for x in str(error).splitlines() if "Line:" in x), "")
            where = f" at line {line.partition('Line:')[2].strip()}" if line else ""
            raise SourceError(
                f"{path.name} is not a regular CSV file{where}: every row must have "
                f"{len(names)} columns separated by {delimiter!r}, quotes closed; mend the file "
                "or set `delimiter:` in the mapping"
            ) from None
        return names
    source.create_view("source")
    return list(source.columns)


def _as_utf8(path: Path, encoding: str | None) -> str:
    content = path.read_bytes()
    for candidate in [encoding] if encoding else ["utf-8-sig", "gb18030"]:
        try:
            return content.decode(candidate)
        except LookupError:
            raise ConfigError(f"`encoding: {candidate}` is not known; try utf-8") from None
        except UnicodeDecodeError:
            continue
    tried = encoding or "UTF-8 nor GB18030"
    raise SourceError(f"{path.name} is not {tried}; set `encoding:` in the mapping")


def _typed(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    mapping: Mapping,
    wanted: dict[str, str],
    features: list[str],
) -> pd.DataFrame:
    """Standard columns cast, features as they are; a value that cannot be cast is an error."""
    expressions = []
    casts = {}
    for name, column in wanted.items():
        if name == "on" and "at" in wanted:
            continue
        target = "at" if name == "on" else name
        expression = _cast(mapping, name, _quote(column))
        expressions.append(f"{expression} AS {_quote(target)}")
        if name in {"at", "on", "amount", "quantity"}:
            casts[target] = (name, column)
    expressions += [_quote(feature) for feature in features]
    frame = connection.execute(f"SELECT {', '.join(expressions)} FROM source").df()
    for target, (name, column) in casts.items():
        # Only transactions cannot do without; a text may have no date.
        optional = isinstance(mapping, TextMapping) or name == "quantity"
        bad = frame[target].isna().to_numpy()
        if optional:
            (given,) = (
                connection.execute(f"SELECT {_quote(column)} FROM source").fetchnumpy().values()
            )
            bad = bad & ~pd.isna(given) & (given != "")
        if bad.any():
            mend = (
                "set `date_format:` in the mapping to the format of the file"
                if name in {"at", "on"}
                else "write plain numbers such as 12.50"
            )
            kind = "dates" if name in {"at", "on"} else "finite numbers"
            if name in {"at", "on"} and mapping.date_format:
                kind = f"dates of the format {mapping.date_format}"
            raise SourceError(
                f"{path.name}: {int(bad.sum())} of {len(frame)} values in `{column}` are not "
                f"{kind}, first in data row {int(bad.argmax()) + 1}; {mend}"
            )
    return frame


def _cast(mapping: Mapping, name: str, column: str) -> str:
    text = f"trim(CAST({column} AS VARCHAR))"
    if name in {"at", "on"}:
        if mapping.date_format:
            escaped = mapping.date_format.replace("'", "''")
            return f"try_strptime({text}, '{escaped}')"
        return f"CAST(try_cast({text} AS TIMESTAMP) AS TIMESTAMP)"
    if name in {"amount", "quantity"}:
        number = f"try_cast({text} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    return column if name == "text" else text


def _refuse_gaps(
    path: Path, mapping: Mapping, identifiers: pd.Series, wanted: dict[str, str]
) -> None:
    column = wanted.get("customer_id", "customer_id")
    empty = (identifiers.isna() | (identifiers == "")).to_numpy()
    if empty.any():
        raise SourceError(
            f"{path.name}: {int(empty.sum())} of {len(identifiers)} rows have no `{column}`, "
            f"first in data row {int(empty.argmax()) + 1}; fill it or leave the rows out"
        )
    if not isinstance(mapping, TransactionMapping) and identifiers.duplicated().any():
        raise SourceError(
            f"{path.name}: {int(identifiers.duplicated().sum())} rows repeat a `{column}`; "
            "one row a customer is needed"
        )
