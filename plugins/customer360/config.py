"""What a user declares in ``config/``: read, checked and typed.

What belongs here: the schema of sources.yml, audiences.yml and policies.yml. What does not: paths
and the environment (``customer360.settings``), or talking to any source.
"""

import datetime as dt
import difflib
import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
LegalBasis = Literal["contract", "consent", "legal_duty", "none"]
SCALES = ("complete", "accurate", "timely", "compliant")
"""The four scales of collection quality, each a share from 0 to 1."""


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


class Total(Strict):
    """A sum that a table and a mart must agree on.

    Attributes:
        of: ``mart.column``, such as ``order_lines.amount_cents``; the mart names its rows' source.
        value: SQL over the table's columns, in the unit of that column.
        where: SQL condition of the rows that count.
    """

    of: Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z_]+$")]
    value: str
    where: str = "true"


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
        total: a sum that the gate compares with a mart's.
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
    total: Total | None = None
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


class Segment(Strict):
    """A rule segment: an SQL condition on columns of customer_360."""

    description: str
    owner: str
    rule: str

    @field_validator("rule")
    @classmethod
    def _safe_rule(cls, value: str) -> str:
        # Imported late: the DAG files read sources.yml only, again and again.
        from customer360.conditions import checked

        return checked(value)

    @property
    def columns(self) -> frozenset[str]:
        """Columns of customer_360 that the rule reads."""
        from customer360.conditions import columns_of

        return columns_of(self.rule)


class NextBestAction(Segment):
    """What to do first for a customer for whom ``rule`` holds; ``description`` says why.

    Attributes:
        channel: where; empty leaves it to the customer's preference.
        measured_by: purposes of campaigns with a control group drawn by chance that did this very
            thing (``campaign_effect.purpose``): the objective that the campaign tool names, or a
            campaign of engagement.yml.
    """

    action: str
    channel: str = ""
    measured_by: list[str] = []


class ChurnAlert(Strict):
    """When an alert is raised, who gets it and what they are told to do.

    Attributes:
        repeat_after_days: a customer is not alerted of again before, unless it got worse.
        worse_by: growth of the probability that counts as worse.
        later_days: how long an alert rests that was answered with "later".
        wrong_rests_days: how long a customer rests whose alert was answered with "wrong".
        saves: share of the value at risk that acting on an alert is expected to save.
    """

    min_probability: Annotated[float, Field(gt=0, lt=1)]
    min_value_tier: str
    owners: dict[str, str]
    actions: dict[str, str]
    expires_after_days: Annotated[int, Field(gt=0)]
    repeat_after_days: Annotated[int, Field(gt=0, le=365)] = 60
    worse_by: Annotated[float, Field(gt=0, lt=1)] = 0.1
    later_days: Annotated[int, Field(gt=0, le=90)] = 7
    wrong_rests_days: Annotated[int, Field(gt=0, le=365)] = 180
    saves: Annotated[float, Field(ge=0, le=1)] = 0.1


class Churn(Strict):
    """Churn: no purchase within ``horizon_days``."""

    horizon_days: Annotated[int, Field(gt=0, le=730)] = 28
    alert: ChurnAlert


class Audiences(Strict):
    """Segments, tiers, actions and alerts of a company.

    Attributes:
        next_best_actions: the first whose rule holds for a customer is its next best action,
            unless another that holds has been measured to do more.
        effect_days: a campaign's effect is counted in buyers within so many days.
        active_months: who bought in so many months up to a month's end is an active customer then.
    """

    active_months: Annotated[int, Field(ge=1, le=24)] = 12
    value_tiers: Annotated[dict[Name, float], Field(min_length=1)]
    segments: dict[Name, Segment]
    next_best_actions: dict[Name, NextBestAction] = {}
    effect_days: Annotated[int, Field(ge=1, le=180)] = 28
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
    """What to do when a source's columns differ from its contract.

    Attributes:
        added: ``accept`` keeps a new column in landing until it is declared.
        missing: ``quarantine`` reads a column that is gone as empty, and rows that require it are
            set aside; a key or cursor that is gone always stops.
        renamed: one column gone and one new of a type that fits: ``accept`` reads the new one.
        retyped: ``quarantine`` casts row by row and sets aside what does not cast.
    """

    added: Literal["accept", "stop"] = "accept"
    missing: Literal["quarantine", "stop"] = "stop"
    renamed: Literal["accept", "stop"] = "stop"
    retyped: Literal["quarantine", "stop"] = "quarantine"


class Snapshots(Strict):
    """How long published snapshots are kept: ``customer360.publish.Retention`` says how."""

    keep_days: Annotated[int, Field(ge=0)] = 14
    keep_at_most: Annotated[int, Field(ge=1)] = 20
    keep_at_least: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _at_most_is_not_less(self) -> "Snapshots":
        if self.keep_at_most < self.keep_at_least:
            raise ValueError(
                f"keep_at_most ({self.keep_at_most}) is less than keep_at_least "
                f"({self.keep_at_least}): raise the one or lower the other"
            )
        return self


class ExportPolicy(Strict):
    """How exports are delivered, and how long they are kept.

    Attributes:
        acknowledge: ``on_write``: what stands in the folder counts as received, a rerun with
            nothing new is an empty change. ``by_receiver``: it counts from
            ``customer360 export acknowledge`` on, until then changes are repeated.
        lost_previous: when the last received export is gone or altered: ``fail``, or ``restate``
            (``changes`` holds everything as added and the manifest says so).
        spreadsheet: also write ``*.spreadsheet.csv``, with a byte-order mark and with formulas
            neutralised, for people who open it by double click.
        json_lines: also write ``*.jsonl``, one JSON object a row.
        purposes: export -> purpose of destinations.yml for which its rows go; who may not be sent
            for it is not in the files. Without one only suppressed customers are left out.
        keep_days: exports written so many days ago are cleared away; the newest and what receivers
            hold never are.
    """

    acknowledge: Literal["on_write", "by_receiver"] = "on_write"
    lost_previous: Literal["fail", "restate"] = "fail"
    spreadsheet: bool = False
    json_lines: bool = False
    purposes: dict[Name, Name] = Field(default_factory=dict)
    keep_days: Annotated[int, Field(ge=0)] = 90


class Stale(Strict):
    """What a source means for the build that could not be read today.

    Attributes:
        default: ``accept`` builds with what the source delivered last, ``stop`` builds nothing.
        sources: sources that are treated otherwise.
        at_most_days: after so many days without a delivery a stale source stops the build.
    """

    default: Literal["accept", "stop"] = "stop"
    sources: dict[Name, Literal["accept", "stop"]] = {}
    at_most_days: Annotated[int, Field(ge=1)] = 3

    def verdict(self, source: str) -> Literal["accept", "stop"]:
        """What holds for ``source``."""
        return self.sources.get(source, self.default)


Share = Annotated[float, Field(ge=0, le=1)]


class Limits(Strict):
    """The least share of each scale; below it a field is weak. None: what holds in general."""

    complete: Share | None = None
    accurate: Share | None = None
    timely: Share | None = None
    compliant: Share | None = None


class Uses(Strict):
    """Fields (source.table.field) that a later use cannot do without."""

    scoring: tuple[str, ...] = ()
    sending: tuple[str, ...] = ()


class Trust(Strict):
    """When a field is too weak, and what then waits.

    Attributes:
        limits: for every field. Completeness has no limit by itself, since a field that may be
            absent is not weak for it.
        overrides: for a source, a table (``till.transactions``) or a field
            (``till.transactions.quantity``); the narrower wins, scale by scale.
        uses: scoring and training stop when one of their fields is weak; alerts are not exported
            when one of sending's is.
    """

    limits: Limits = Limits()
    overrides: dict[str, Limits] = {}
    uses: Uses = Uses()

    def limits_of(self, field: str) -> dict[str, float]:
        """Scale -> least share, for ``source.table.field``."""
        found = {"complete": 0.0, "accurate": 0.99, "timely": 0.9, "compliant": 1.0}
        parts = field.split(".")
        names = [".".join(parts[:count]) for count in (1, 2, 3)]
        for limits in (self.limits, *(self.overrides.get(name) for name in names)):
            if limits is not None:
                found |= limits.model_dump(exclude_none=True)
        return found


class Question(Strict):
    """What to ask a customer for: a column of ``customers``, and why it is worth asking."""

    field: Name
    because: str


Rule = Literal["verified", "most_complete", "most_trusted", "most_recent", "most_frequent"]
Attribute = Literal[
    "name", "phone", "email", "address", "birthday", "sex", "region", "language", "loyalty_tier",
    "age_band", "income_band", "home_ownership", "marital_status", "household_size",
    "household_composition", "kids_count",
]  # fmt: skip


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} stands in the list more than once; say which counts")
    return names


class AttributePolicy(Strict):
    """How one attribute is decided otherwise than the rest.

    Attributes:
        masters: sources whose word decides, whatever the rules say. Where two of them claim
            different values the first in the list has it; the other's stays visible as its rival.
        rules: the order of rules for this attribute; empty: the general one.
    """

    masters: Annotated[tuple[Name, ...], AfterValidator(_each_once)] = ()
    rules: Annotated[tuple[Rule, ...], AfterValidator(_each_once)] = ()


class Survivorship(Strict):
    """Which of several values of an attribute stands in the golden record.

    Attributes:
        trust: sources, the most trusted first; those not named come after them.
        rules: what decides, the first that tells two values apart.
        attributes: what is decided otherwise.
    """

    trust: Annotated[tuple[Name, ...], AfterValidator(_each_once)] = ()
    rules: Annotated[tuple[Rule, ...], AfterValidator(_each_once), Field(min_length=1)] = (
        "verified", "most_trusted", "most_recent", "most_frequent",
    )  # fmt: skip
    attributes: dict[Attribute, AttributePolicy] = {}


class Notify(Strict):
    """Who is told of failed gates, stale sources and failed tasks.

    Attributes:
        webhook_connection: an Airflow Connection (http) that takes one small JSON a finding.
        timeout_seconds: a receiver that takes longer is passed over.
    """

    webhook_connection: Name | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5


class Money(Strict):
    """Amounts in other currencies, and amounts that are hard to believe.

    Attributes:
        rates: what one unit of another currency is worth in the company's; an amount in a currency
            that has none is kept as it came, and counts for nothing in the company's.
        huge_order: an order over this amount (in the company's currency) is marked ``is_huge``.
    """

    rates: dict[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Annotated[float, Field(gt=0)]] = {}
    huge_order: Annotated[float, Field(gt=0)] = 100_000


class Behaviour(Strict):
    """Where a visit ends, when a cart is given up, and what a campaign may claim.

    Attributes:
        session_gap_minutes: a longer pause begins a new session.
        cart_abandoned_after_hours: hours without a change after which a cart is abandoned.
        attribution_days: days after a message in which an order is credited to its campaign.
    """

    session_gap_minutes: Annotated[int, Field(gt=0)] = 30
    cart_abandoned_after_hours: Annotated[int, Field(gt=0)] = 24
    attribution_days: Annotated[int, Field(gt=0)] = 14


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]


class Calendar(Strict):
    """When service is there to answer; the clock of working hours stands still at other times.

    Attributes:
        hours: weekday -> when it opens and closes; a weekday that is missing is closed.
        holidays: days that are closed whatever their weekday.
        extra_days: days that are open as on a Monday whatever their weekday.
    """

    hours: dict[Weekday, tuple[ClockTime, ClockTime]] = {
        "monday": ("09:00", "18:00"),
        "tuesday": ("09:00", "18:00"),
        "wednesday": ("09:00", "18:00"),
        "thursday": ("09:00", "18:00"),
        "friday": ("09:00", "18:00"),
    }
    holidays: tuple[dt.date, ...] = ()
    extra_days: tuple[dt.date, ...] = ()

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> "Calendar":
        for weekday, (opens, closes) in self.hours.items():
            if opens >= closes:
                raise ValueError(f"hours.{weekday}: opens at {opens}, but closes at {closes}")
        both = sorted(set(self.holidays) & set(self.extra_days))
        if both:
            raise ValueError(f"{both[0]} is both a holiday and an extra day")
        if self.extra_days and "monday" not in self.hours:
            raise ValueError("extra_days are open as on a Monday, and `hours` has no monday")
        return self

    def minutes(self) -> dict[int, tuple[int, int]]:
        """ISO weekday -> minutes after midnight at which it opens and closes."""
        return {
            WEEKDAYS.index(weekday) + 1: (_minutes(opens), _minutes(closes))
            for weekday, (opens, closes) in self.hours.items()
        }


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return 60 * int(hour) + int(minute)


class Service(Strict):
    """How cases of service and repairs are judged.

    Attributes:
        complaint_topics: topics whose cases are complaints.
        repeat_question_days: the same customer asks about the same topic again within these days.
        repeat_fault_days: the same appliance has the same fault again within these days.
    """

    complaint_topics: tuple[str, ...] = ("complaint",)
    repeat_question_days: Annotated[int, Field(gt=0)] = 30
    repeat_fault_days: Annotated[int, Field(gt=0)] = 90
    calendar: Calendar = Calendar()


class Policies(Strict):
    """Gates, trust, drift, stale sources, retention and delivery of a company.

    Attributes:
        legal_basis: personal class -> why such data may be held; ``consent`` needs one.
        consent_recorded_in: personal class -> source.table.field that records the consent.
        ask: what is worth asking a customer next, in this order.
        survivorship: which of several values stands in the golden record.
        money, behaviour, service: the rules of the marts of orders, sessions, carts, campaigns,
            cases and repairs.
    """

    gates: Gates = Gates()
    trust: Trust = Trust()
    legal_basis: dict[PersonalClass, LegalBasis] = {}
    consent_recorded_in: dict[PersonalClass, str] = {}
    ask: tuple[Question, ...] = ()
    survivorship: Survivorship = Survivorship()
    notify: Notify = Notify()
    stale: Stale = Stale()
    drift: Drift = Drift()
    snapshots: Snapshots = Snapshots()
    exports: ExportPolicy = ExportPolicy()
    money: Money = Money()
    behaviour: Behaviour = Behaviour()
    service: Service = Service()


class Config(Strict):
    """All that is declared for one company."""

    company: str
    sources: CompanySources
    audiences: Audiences
    policies: Policies


Declared = TypeVar("Declared", CompanySources, Audiences, Policies)


def read_document(path: Path) -> dict[str, Any]:
    """A file of ``config/``: its sections by name.

    Raises:
        ConfigError: it is no YAML in UTF-8, with the line and what is wrong there, or no sections.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path.name}{line}: not valid YAML in UTF-8" + (f": {problem}" if problem else "")
        ) from None
    if not isinstance(document or {}, dict):
        raise ConfigError(f"{path.name}: must hold one section a company")
    return document or {}


def _section(path: Path, company: str) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"{path.name}: not found in {path.parent}")
    document = read_document(path)
    if company not in document:
        raise ConfigError(
            f"{path.name}: has no company '{company}'; it has {', '.join(map(str, document))}. "
            "Set COMPANY to one of them or add a section."
        )
    return dict(document[company])


def _checked(path: Path, company: str, model: type[Declared]) -> Declared:
    try:
        return model.model_validate(_section(path, company))
    except ValidationError as error:
        raise explain(path, company, error) from None


def explain(path: Path, company: str, error: ValidationError) -> ConfigError:
    """What pydantic says of a section, as a user reads it: file, place and mend."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in (company, *item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; take it out or correct its spelling"
        lines.append(f"{path.name}: {place}: {message}")
    return ConfigError("\n".join(lines))


@functools.lru_cache(maxsize=96)
def _load(path: Path, company: str, model: type[Declared], _stamp: int) -> Declared:
    return _checked(path, company, model)


def _read(settings: Settings, name: str, model: type[Declared]) -> Declared:
    path = settings.config_dir / f"{name}.yml"
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return _load(path, settings.company, model, stamp)


def load_config(settings: Settings) -> Config:
    """Read and check the three files for the company of ``settings``.

    Raises:
        ConfigError: names file, place and mend.
    """
    config = Config(
        company=settings.company,
        sources=load_sources(settings),
        audiences=_read(settings, "audiences", Audiences),
        policies=_read(settings, "policies", Policies),
    )
    _check_fields(config)
    return config


def _check_fields(config: Config) -> None:
    """See that policies name sources, tables and fields that are declared."""
    fields = {
        f"{source_name}.{table_name}.{column}"
        for source_name, source in config.sources.sources.items()
        for table_name, table in source.tables.items()
        for column in table.columns
    }
    anything = fields | {field.rsplit(".", count)[0] for field in fields for count in (1, 2)}
    trust = config.policies.trust
    named = [
        *(("trust.overrides", name, anything) for name in trust.overrides),
        *(("trust.uses.scoring", name, fields) for name in trust.uses.scoring),
        *(("trust.uses.sending", name, fields) for name in trust.uses.sending),
        *(
            (f"consent_recorded_in.{personal}", name, fields)
            for personal, name in config.policies.consent_recorded_in.items()
        ),
    ]
    survivorship = config.policies.survivorship
    sources = set(config.sources.sources)
    named += [("survivorship.trust", name, sources) for name in survivorship.trust]
    named += [
        (f"survivorship.attributes.{attribute}.masters", name, sources)
        for attribute, policy in survivorship.attributes.items()
        for name in policy.masters
    ]
    for place, name, known in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"policies.yml: {config.company}.{place}: sources.yml declares no '{name}'{meant}"
            )


def load_sources(settings: Settings) -> CompanySources:
    """Read and check sources.yml alone.

    Raises:
        ConfigError: names file, place and mend.
    """
    return _read(settings, "sources", CompanySources)


def companies(settings: Settings) -> dict[str, CompanySources]:
    """Every company in sources.yml (the dbt sources are declared for all of them)."""
    path = settings.config_dir / "sources.yml"
    document = read_document(path)
    stamp = path.stat().st_mtime_ns
    return {str(company): _load(path, str(company), CompanySources, stamp) for company in document}
