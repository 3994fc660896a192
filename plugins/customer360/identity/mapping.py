"""Mapping files: which column of a table means what.

What belongs here: the shape of a mapping file, its checks, and reading the mapped columns of a
CSV or Parquet file into DuckDB as text. What does not: understanding the values
(``normalise``).
"""

import codecs
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from customer360.exceptions import ConfigError

PERSON_FIELDS = (
    "record_id",
    "full_name",
    "given_name",
    "family_name",
    "birthday",
    "birth_year",
    "birth_month",
    "birth_day",
    "sex",
    "phone",
    "email",
    "address",
    "street_number",
    "street",
    "city",
    "region",
    "postcode",
    "country",
    "occupation",
    "national_id",
    "member_no",
    "unionid",
    "openid",
    "source",
)
"""Standard names of a person record's fields."""

TRUTH_FIELDS = ("record_id", "person_id")
"""Standard names of a truth file's fields."""


class PersonMapping(BaseModel):
    """A mapping file of person records.

    Attributes:
        fields: standard field -> column of the file, or columns, which are joined by a space.
        date_format: strptime format of ``birthday``; found out from the values when absent.
        phone_region: region of phone numbers without a country code (ISO 3166, ``CN``).
        encoding: of a CSV file, by Python's name for it: ``utf-8``, ``gb18030``, ``big5`` ...
    """

    model_config = ConfigDict(extra="forbid")

    fields: dict[str, list[str]]
    date_format: str | None = None
    phone_region: str = Field(default="CN", pattern=r"^[A-Z]{2}$")
    encoding: str = "utf-8"

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(
                f"'{value}' is not an encoding such as utf-8, gb18030 or big5"
            ) from None

    @field_validator("fields", mode="before")
    @classmethod
    def _one_or_more_columns(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        # YAML reads an unquoted 2024 or yes as another type: column names are text
        return {
            str(field): [
                str(column) for column in (columns if isinstance(columns, list) else [columns])
            ]
            for field, columns in fields.items()
            if columns is not None
        }

    @model_validator(mode="after")
    def _fields_make_sense(self) -> "PersonMapping":
        unknown = sorted(set(self.fields) - set(PERSON_FIELDS))
        if unknown:
            raise ValueError(
                f"unknown fields {', '.join(unknown)}; known are {', '.join(PERSON_FIELDS)}"
            )
        if "record_id" not in self.fields:
            raise ValueError("fields.record_id is missing: say which column identifies a record")
        if not set(self.fields) - {"record_id", "source"}:
            raise ValueError("no field describes a person: map at least a name or an identifier")
        return self


def load_mapping(path: Path) -> PersonMapping:
    """Read and check a mapping file; ConfigError says what is wrong and where."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"mapping file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"mapping file {path} is not YAML in UTF-8: {error}") from error
    if not isinstance(content, dict) or "fields" not in content:
        raise ConfigError(
            f"mapping file {path} has no 'fields:' section; write 'fields:' and below it "
            "'record_id: <column>', 'full_name: <column>' and so on"
        )
    try:
        return PersonMapping.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"mapping file {path}: {'; '.join(_readable(error))}") from error


def _readable(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_input=False, include_url=False):
        place = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = f"unknown key (known: {', '.join(PersonMapping.model_fields)})"
        yield f"{place}: {message}" if place else message


def quote(name: str) -> str:
    """An identifier for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | Path) -> str:
    """A text literal for DuckDB."""
    return "'" + str(value).replace("'", "''") + "'"


@contextlib.contextmanager
def in_utf8(path: Path, encoding: str) -> Iterator[Path]:
    """``path``, or a copy of it in UTF-8 while the block runs.

    Python decodes, strictly: DuckDB's own decoding of GBK spoils digits. ConfigError where a byte
    does not belong to the encoding.
    """
    if encoding == "utf-8" or path.suffix.lower() in {".parquet", ".pq"} or not path.is_file():
        yield path
        return
    with tempfile.NamedTemporaryFile("w", suffix=path.suffix, encoding="utf-8", newline="") as file:
        try:
            with path.open(encoding=encoding, newline="") as source:
                while part := source.read(1 << 20):
                    file.write(part)
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{path} is not {encoding} from byte {error.start:,} of a part on; correct "
                "'encoding:' in the mapping file"
            ) from None
        file.flush()
        yield Path(file.name)


def reader(con: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, dict[str, str]]:
    """A table function that reads ``path`` as text, and its columns (trimmed name -> name).

    Raises ConfigError where the file is missing, empty or neither CSV nor Parquet.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist or is not a file")
    if path.stat().st_size == 0:
        raise ConfigError(f"{path} is empty: it has not even a line with the names of its columns")
    if path.suffix.lower() in {".parquet", ".pq"}:
        relation = f"read_parquet({literal(path)})"
    else:
        relation = (
            f"read_csv({literal(path)}, all_varchar=true, header=true, sample_size=-1,"
            " null_padding=false)"
        )
    try:
        described = con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    except duckdb.Error as error:
        # DuckDB's message quotes the offending line, which may be somebody's data
        raise ConfigError(
            f"{path} cannot be read as {'Parquet' if 'parquet' in relation else 'CSV in UTF-8'}"
            f" ({type(error).__name__}); check its header and quotes, and its encoding, which a "
            "mapping file may name (encoding: gb18030)"
        ) from error
    return relation, {name.strip().lstrip("\ufeff"): name for name, *_ in described}


def read_records(con: duckdb.DuckDBPyConnection, path: Path, mapping: PersonMapping) -> int:
    """Make table ``records_in`` (text, standard names, ordered by ``record_id``); return its rows.

    Raises ConfigError for missing columns and for record ids that are missing or not unique.
    """
    with in_utf8(path, mapping.encoding) as readable:
        try:
            return _read_records(con, readable, mapping)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(readable), str(path))) from error.__cause__


def _read_records(con: duckdb.DuckDBPyConnection, path: Path, mapping: PersonMapping) -> int:
    relation, columns = reader(con, path)
    select = []
    for field, sources in mapping.fields.items():
        missing = [source for source in sources if source.strip() not in columns]
        if missing:
            raise ConfigError(
                f"{path} has no column {', '.join(repr(name) for name in missing)} (mapped as "
                f"{field}); its columns are {', '.join(columns)}"
            )
        parts = [f"{quote(columns[source.strip()])}::VARCHAR" for source in sources]
        text = parts[0] if len(parts) == 1 else f"concat_ws(' ', {', '.join(parts)})"
        select.append(f"nullif(trim({text}), '') AS {field}")
    try:
        con.execute(
            f"CREATE OR REPLACE TABLE records_in AS "
            f"SELECT {', '.join(select)} FROM {relation} ORDER BY record_id"
        )
    except duckdb.Error as error:
        raise ConfigError(
            f"{path} cannot be read to its end ({type(error).__name__}); check for lines with "
            "too many or too few values and for unclosed quotes"
        ) from error
    rows, ids, named = con.execute(
        "SELECT count(*), count(DISTINCT record_id), count(record_id) FROM records_in"
    ).fetchall()[0]
    if rows == 0:
        raise ConfigError(f"{path} has no rows")
    if named < rows:
        raise ConfigError(f"{path}: {rows - named} of {rows} rows have no record_id")
    if ids < rows:
        raise ConfigError(
            f"{path}: {rows - ids} of {rows} rows repeat a record_id; map a column that is unique"
        )
    return int(rows)
