"""What a user declares in ``config/``: read, checked and typed.

What belongs here: the schema of sources.yml, audiences.yml and policies.yml. What does not: paths
and the environment (``customer360.settings``), or talking to any source.
"""

import datetime as dt
import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlglot
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from sqlglot import expressions as exp

from customer360.exceptions import ConfigError
from customer360.settings import Settings

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
COLUMN_TYPE = re.compile(
    r"text|bigint|integer|double|boolean|date|timestamp|json|decimal\(\d{1,2},\d{1,2}\)"
)
MOMENT_FORMAT = re.compile(r"([^%]|%-?[aAbBcdfgGHIjmMnpSuUVwWxXyYzZ%])*")
PersonalClass = Literal[
    "none",
    "identifier",
    "name",
    "contact",
    "address",
    "birthday",
    "profile",
    "free_text",
    "sensitive",
]


def _identifier(value: str) -> str:
    """Names become tables, folders and DAGs: lower case letters, digits and underscores."""
    if not IDENTIFIER.fullmatch(value):
        raise ValueError(
            f"'{value}' must be lower case letters, digits and underscores, beginning with a letter"
        )
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"'{value}' is not a time zone such as Asia/Shanghai or UTC") from None
    return value


Name = Annotated[str, AfterValidator(_identifier)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]


class Strict(BaseModel):
    """A section in which an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Strict):
    """The contract of one column.

    ``zone`` says in which time zone a timestamp without offset is written: ``local`` (the
    company's), or a zone's name. ``path`` says where in a JSON record the value stands
    (``properties.$city``; ``"a.b".c`` where a key holds a dot); the column's own name where it is
    not given. ``format`` says how a date or timestamp is written: ``%Y/%m/%d %H:%M`` as in
    strptime, ``epoch_s`` or ``epoch_ms`` for numbers since 1970, ``excel`` for the serial days of a
    spreadsheet.
    """

    type: str
    path: str | None = None
    format: str | None = None
    description: str = ""
    required: bool = False
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] | None = None
    matches: str | None = None
    personal: PersonalClass = "none"
    zone: str = "local"

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        if not COLUMN_TYPE.fullmatch(value):
            raise ValueError(
                f"'{value}' is not one of text, bigint, integer, double, boolean, date, timestamp, "
                "json, decimal(precision,scale)"
            )
        return value

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str | None) -> str | None:
        if value is None or value in ("epoch_s", "epoch_ms", "excel"):
            return value
        if "%" not in value or not MOMENT_FORMAT.fullmatch(value):
            raise ValueError(
                f"'{value}' is not epoch_s, epoch_ms, excel or a format such as %Y/%m/%d %H:%M:%S"
            )
        return value

    @model_validator(mode="after")
    def _format_has_meaning(self) -> "Column":
        if self.format and self.type not in ("date", "timestamp"):
            raise ValueError(f"`format` has no meaning for type {self.type}")
        return self

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return value if value == "local" else _time_zone(value)


class Cursor(Strict):
    """The column that says what is new, and how far back late rows are looked for."""

    column: str
    look_back_days: Annotated[int, Field(ge=0)] = 1


class Freshness(Strict):
    """Days between the newest row and the as-of day after which a run warns or stops."""

    warn_after_days: int | None = None
    stop_after_days: int | None = None


class Sweep(Strict):
    """How often every key is read to find rows that were deleted."""

    every_days: Annotated[int, Field(ge=1)] = 1


class Pagination(Strict):
    """How a web service hands out its pages.

    Attributes:
        kind: ``page`` (numbers from ``first``), ``cursor`` (each answer names the next one),
            ``link`` (RFC 8288 ``Link`` header with rel="next"), ``none``.
        parameter: query parameter of the page number or cursor.
        next: path in the answer to the next cursor (``paging.next``); for links to the next
            address, where it stands in the answer and not in the header.
        size_parameter, size: query parameter and number of records a page.
        is_short_last: kind page: the service promises that only its last page is shorter than
            ``size``, so that no empty page must be asked for.
        total: path in the answer to the number of all records; the reading is whole when as many
            came.
    """

    kind: Literal["page", "cursor", "link", "none"] = "none"
    parameter: str | None = None
    first: int = 1
    next: str | None = None
    size_parameter: str | None = None
    size: Annotated[int, Field(ge=1)] = 200
    is_short_last: bool = False
    total: str | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Pagination":
        if self.kind in ("page", "cursor") and not self.parameter:
            raise ValueError(f"kind {self.kind} needs `parameter`, the query parameter to set")
        if self.kind == "cursor" and not self.next:
            raise ValueError("kind cursor needs `next`, the path to the next cursor in the answer")
        return self


class Request(Strict):
    """What is asked of a web service for one table.

    Attributes:
        path: below the connection's address.
        parameters: fixed query parameters.
        records: path to the list of records in the answer; empty where the answer is the list.
        since_parameter, until_parameter: query parameters that take the window's bounds, if the
            service can filter.
    """

    path: str
    parameters: dict[str, str | int | bool] = {}
    records: str = ""
    since_parameter: str | None = None
    until_parameter: str | None = None
    pagination: Pagination = Pagination()


class Table(Strict):
    """One table of a source: where it is, its contract, how it is read.

    Attributes:
        file: files (``receipts/*.csv``): a name or a pattern below the source's path.
        each_file: files: ``once`` takes every file once by its content, whenever it comes;
            ``state`` reads the files as they stand each time.
        day_in_name: files: how a file's name holds its day (``%Y-%m-%d``); files of later days
            than the as-of day are left for their own run.
        records: json_lines: each file is one document; path to its list of records
            (``data.items``), empty where the document is the list.
        sheet: excel: name of the sheet; the first where it is not given.
        relation: databases: ``schema.table`` there; the table's own name where it is not given.
        request: rest: what to ask.
        deletes: databases: find deleted rows of a table with a cursor by a sweep over its keys.
    """

    description: str = ""
    file: str | None = None
    each_file: Literal["once", "state"] = "state"
    day_in_name: str | None = None
    records: str | None = None
    sheet: str | None = None
    relation: str | None = None
    request: Request | None = None
    key: Annotated[tuple[str, ...], Field(min_length=1)]
    cursor: Cursor | None = None
    deletes: Sweep | None = None
    freshness: Freshness = Freshness()
    may_be_empty: bool = False
    delimiter: str = ","
    encoding: str = "utf-8"
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _columns_exist(self) -> "Table":
        wanted = [*self.key, *([self.cursor.column] if self.cursor else [])]
        for name in wanted:
            if name not in self.columns:
                raise ValueError(f"key or cursor names '{name}', which is not among the columns")
            if not self.columns[name].required:
                raise ValueError(f"column '{name}' is part of key or cursor: add required: true")
        if self.cursor and self.columns[self.cursor.column].type not in ("timestamp", "date"):
            raise ValueError(f"the cursor '{self.cursor.column}' must be a timestamp or a date")
        for name in self.columns:
            if name.startswith("_"):
                raise ValueError(
                    f"column '{name}': a leading underscore is kept for our own columns"
                )
        return self


FILE_FORMATS = ("parquet", "csv", "json_lines", "excel")
DATABASE_FORMATS = ("postgres", "mysql")


class Source(Strict):
    """One source system.

    Attributes:
        connection: name of the Airflow Connection with address and secrets (databases, rest,
            object storage).
        path: files: a folder, ``python:<package>/<folder>``, ``data:<folder>`` (below the company's
            data), ``$NAME/...`` or an object storage URL (``s3://bucket/folder``).
        at_once: how many tasks may read the system at the same time (its pool).
        requests_per_second: rest: never ask more often.
        is_hourly: whether the hourly lane reads it beside the nightly run.
    """

    title: str
    owner: str
    stage: Literal["basic", "behavioural", "active"]
    schedule: str = "0 2 * * *"
    format: Literal["parquet", "csv", "json_lines", "excel", "postgres", "mysql", "rest"]
    connection: Name | None = None
    path: str | None = None
    at_once: Annotated[int, Field(ge=1)] = 1
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    is_hourly: bool = False
    tables: Annotated[dict[Name, Table], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_its_format(self) -> "Source":
        is_file = self.format in FILE_FORMATS
        if is_file and not self.path:
            raise ValueError(f"format {self.format} needs `path`, the folder of its files")
        if not is_file and not self.connection:
            raise ValueError(f"format {self.format} needs `connection`, an Airflow Connection")
        wanted = "file" if is_file else "request" if self.format == "rest" else None
        of_files = {"file", "records", "sheet", "day_in_name"}
        others = of_files | {"relation", "request", "deletes"}
        others -= of_files if is_file else set()
        others -= {"relation", "deletes"} if self.format in DATABASE_FORMATS else set()
        others -= {"request"} if self.format == "rest" else set()
        for name, table in self.tables.items():
            if wanted and getattr(table, wanted) is None:
                raise ValueError(f"tables.{name}: format {self.format} needs `{wanted}`")
            for key in sorted(others):
                if getattr(table, key) is not None:
                    raise ValueError(f"tables.{name}: `{key}` has no meaning for {self.format}")
        return self


class CompanySources(Strict):
    """A company's calendar, currency and sources.

    Attributes:
        last_day: last day of data that have ended.
        clock: a file that holds the newest day that has ended (YYYY-MM-DD), for a company that
            lives in a time of its own; relative to the company's data folder.
    """

    title: str
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    time_zone: TimeZone
    first_day: dt.date
    last_day: dt.date | None = None
    clock: str | None = None
    sources: Annotated[dict[Name, Source], Field(min_length=1)]

    @property
    def zone(self) -> ZoneInfo:
        """The company's time zone."""
        return ZoneInfo(self.time_zone)

    def zone_of(self, column: Column) -> ZoneInfo:
        """The time zone in which a timestamp column without offset is written."""
        return (
            self.zone if column.zone == "local" or column.type == "date" else ZoneInfo(column.zone)
        )

    def day_end(self, day: dt.date) -> dt.datetime:
        """The company's midnight that ends ``day``, as naive UTC."""
        midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=self.zone)
        return midnight.astimezone(dt.UTC).replace(tzinfo=None)


# What a segment's rule may be made of; everything else (subqueries, calls of unknown functions,
# statements) is refused, so that a rule can only look at the row of its customer.
RULE_NODES = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
    exp.In, exp.Between, exp.Is, exp.Null, exp.Boolean, exp.Column, exp.Identifier, exp.Literal,
    exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Coalesce, exp.Like, exp.Interval, exp.Var,
)  # fmt: skip


class Segment(Strict):
    """A rule segment: an SQL condition on columns of customer_360."""

    description: str
    owner: str
    rule: str

    @field_validator("rule")
    @classmethod
    def _safe_rule(cls, value: str) -> str:
        try:
            statements = sqlglot.parse(value, read="duckdb")
        except sqlglot.errors.SqlglotError:
            raise ValueError(f"the rule is not an SQL condition: {value}") from None
        condition = statements[0]
        if len(statements) != 1 or condition is None:
            raise ValueError("a rule is one condition, without semicolons")
        for node in condition.walk():
            if not isinstance(node, RULE_NODES):
                raise ValueError(  # noqa: TRY004, pydantic turns ValueError into a message
                    f"'{node.sql()}' may not stand in a rule: use columns, values, comparisons, "
                    "and, or, not, in, between, like, coalesce"
                )
        return condition.sql(dialect="duckdb")

    @property
    def columns(self) -> frozenset[str]:
        """Columns of customer_360 that the rule reads."""
        tree = sqlglot.parse_one(self.rule, read="duckdb")
        return frozenset(column.name for column in tree.find_all(exp.Column))


class ChurnAlert(Strict):
    """When an alert is raised, who gets it and what they are told to do."""

    min_probability: Annotated[float, Field(gt=0, lt=1)]
    min_value_tier: str
    owners: dict[str, str]
    actions: dict[str, str]
    expires_after_days: Annotated[int, Field(gt=0)]


class Churn(Strict):
    """Churn: no purchase within ``horizon_days``."""

    horizon_days: Annotated[int, Field(gt=0, le=730)] = 28
    alert: ChurnAlert


class Audiences(Strict):
    """Segments, tiers and alerts of a company."""

    value_tiers: Annotated[dict[Name, float], Field(min_length=1)]
    segments: dict[Name, Segment]
    churn: Churn

    @model_validator(mode="after")
    def _tiers_known(self) -> "Audiences":
        tiers = list(self.value_tiers)
        sums = list(self.value_tiers.values())
        if sums != sorted(sums, reverse=True) or sums[-1] != 0:
            raise ValueError(
                "value_tiers: list them from the highest sum down to one that begins at 0"
            )
        alert = self.churn.alert
        if alert.min_value_tier not in tiers:
            raise ValueError(f"churn.alert.min_value_tier: not one of {', '.join(tiers)}")
        alerted = set(tiers[: tiers.index(alert.min_value_tier) + 1])
        for key in ("owners", "actions"):
            missing = alerted - set(getattr(alert, key))
            if missing:
                raise ValueError(
                    f"churn.alert.{key}: missing for tier {', '.join(sorted(missing))}"
                )
        return self


class Gates(Strict):
    """Limits of the quality gates."""

    max_quarantined_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    min_volume_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5


class Drift(Strict):
    """What to do when a source's columns differ from its contract."""

    added: Literal["accept", "stop"] = "accept"
    missing: Literal["stop"] = "stop"
    retyped: Literal["quarantine", "stop"] = "quarantine"


class Snapshots(Strict):
    """How long published snapshots are kept."""

    keep_days: Annotated[int, Field(ge=0)] = 14
    keep_at_least: Annotated[int, Field(ge=1)] = 3


class Policies(Strict):
    """Gates, drift and retention of a company."""

    gates: Gates = Gates()
    drift: Drift = Drift()
    snapshots: Snapshots = Snapshots()


class Config(Strict):
    """All that is declared for one company."""

    company: str
    sources: CompanySources
    audiences: Audiences
    policies: Policies


def _section(path: Path, company: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path.name}: not found in {path.parent}") from None
    try:
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path.name}{line}: not valid YAML: {getattr(error, 'problem', '')}"
        ) from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path.name}: must hold one section a company")
    if company not in document:
        raise ConfigError(
            f"{path.name}: has no company '{company}'; it has {', '.join(map(str, document))}. "
            "Set COMPANY to one of them or add a section."
        )
    return dict(document[company])


def _explain(path: Path, company: str, error: ValidationError) -> ConfigError:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in (company, *item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; take it out or correct its spelling"
        lines.append(f"{path.name}: {place}: {message}")
    return ConfigError("\n".join(lines))


@functools.lru_cache(maxsize=32)
def _load(config_dir: Path, company: str, _stamps: tuple[int, ...]) -> Config:
    sections: dict[str, Any] = {"company": company}
    for key, model in (
        ("sources", CompanySources),
        ("audiences", Audiences),
        ("policies", Policies),
    ):
        path = config_dir / f"{key}.yml"
        try:
            sections[key] = model.model_validate(_section(path, company))
        except ValidationError as error:
            raise _explain(path, company, error) from None
    return Config(**sections)


def load_config(settings: Settings) -> Config:
    """Read and check the three files for the company of ``settings``.

    Raises:
        ConfigError: names file, place and mend.
    """
    files = [settings.config_dir / f"{key}.yml" for key in ("sources", "audiences", "policies")]
    stamps = tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)
    return _load(settings.config_dir, settings.company, stamps)


def companies(settings: Settings) -> dict[str, CompanySources]:
    """Every company in sources.yml (the dbt sources are declared for all of them)."""
    path = settings.config_dir / "sources.yml"
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    result = {}
    for company in document:
        try:
            result[str(company)] = CompanySources.model_validate(_section(path, str(company)))
        except ValidationError as error:
            raise _explain(path, str(company), error) from None
    return result
