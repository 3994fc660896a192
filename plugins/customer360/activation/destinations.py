"""Where a company's customers' rows are sent: the schema of ``config/destinations.yml``.

What belongs here: what may be declared of a destination, and reading it. What does not: sending
(``sending``), or any address: those are Airflow Connections.
"""

import functools
import string
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from customer360.config import Name, Strict, explain, read_document
from customer360.exceptions import ConfigError
from customer360.settings import Settings

FILE = "destinations.yml"

OWN_COLUMNS = (
    "customer_id", "change", "object", "written_by", "written_at", "delivery_id", "successor_id",
    "payload_hash", "received_hash", "key_hash", "quick", "received_quick", "own_attempts",
    "own_reason",
)  # fmt: skip
"""Names that a destination's own columns may not take."""

HOURLY_TABLE = "touch_plan"
"""The published table to which the hours of a day add rows before the next night does."""


class Purpose(Strict):
    """Why rows or columns may go to somebody.

    Attributes:
        basis: why that is lawful; ``consent`` is asked of the newest landed consents, for every
            row at the moment of sending; ``none`` is sent to nobody.
        consent: the purpose in the mart ``consents`` that must be granted.
        channel: by which channel the receiver reaches people; a consent for another one is none.
        min_age: nobody is sent who is known to be younger.
    """

    description: str
    basis: Literal["contract", "consent", "legal_duty", "none"]
    consent: Name | None = None
    channel: Name | None = None
    min_age: Annotated[int, Field(ge=1, le=120)] | None = None

    @model_validator(mode="after")
    def _names_its_consent(self) -> "Purpose":
        if (self.basis == "consent") != (self.consent is not None):
            raise ValueError("basis consent and `consent`, the purpose asked for, go together")
        return self


class Guard(Strict):
    """When a sending waits for a person: a part of it grew too much, or is suddenly empty.

    Attributes:
        max_growth: more than so many times the rows that the receiver holds.
        min_rows: a part that stays at or below so many rows is never stopped for growing.
        min_before: a part of fewer rows may be empty the next day.
        part: column by which rows are watched apart, such as segment; all together without one.
    """

    max_growth: Annotated[float, Field(gt=1)] = 10
    min_rows: Annotated[int, Field(ge=0)] = 100
    min_before: Annotated[int, Field(ge=1)] = 10
    part: Name | None = None


class Retry(Strict):
    """How often a row is tried.

    Attributes:
        attempts: requests within one run, with growing pauses.
        first_wait, longest_wait: seconds between them; ``Retry-After`` is obeyed up to
            ``longest_asked``, more leaves the rows to the next run.
        give_up_after: runs in which a row may fail; then it is dead until somebody replays it.
    """

    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    first_wait: Annotated[float, Field(ge=0, le=60)] = 0.5
    longest_wait: Annotated[float, Field(ge=0, le=600)] = 30
    longest_asked: Annotated[float, Field(ge=0, le=3600)] = 120
    give_up_after: Annotated[int, Field(ge=1)] = 5


class Common(Strict):
    """What every destination says.

    Attributes:
        source: a published table with ``customer_id`` (``segment_members``, ``churn_alerts``).
        where: SQL condition on its columns; only such rows are sent.
        purpose: why a row is sent at all; without a lawful basis it is held back.
        columns: column -> its purpose; without a basis of its own the column goes empty. The
            table's key always goes, for the row's purpose.
        identifiers: column -> table of records whose key the receiver knows customers by, such as
            ``person_no: crm.persons``; rows of customers without one are sent with null.
        passes: column of a day; a row of that day or an earlier one is past, and nobody is told
            that it has left (a tool cannot take back the call that it made). Goes with the key.
        again_on: of ``columns``, those whose change is told; all without it. The others go along:
            an alert whose wording counts days is one message, not one a day.
        hourly: whether touches that an hour has planned are sent within it.
        connection: an Airflow Connection.
        is_on: false sends nothing and forgets nothing.
    """

    title: str
    owner: str
    source: Annotated[Name, Field(alias="from")]
    where: str | None = None
    purpose: Name
    columns: dict[Name, Name]
    identifiers: dict[Name, str] = Field(default_factory=dict)
    passes: Name | None = None
    again_on: tuple[Name, ...] = ()
    hourly: bool = False
    connection: Name | None = None
    guard: Guard = Guard()
    retry: Retry = Retry()
    is_on: bool = True

    @field_validator("where")
    @classmethod
    def _safe_condition(cls, value: str | None) -> str | None:
        # Imported late: DAG files read the names only, again and again.
        from customer360.conditions import checked

        return checked(value) if value else None

    @model_validator(mode="after")
    def _names_are_free(self) -> "Common":
        named = [*self.columns, *self.identifiers]
        for name in named:
            if name in OWN_COLUMNS or named.count(name) > 1:
                raise ValueError(f"column '{name}' is one of our own, or stands twice")
        for name in self.again_on:
            if name not in named:
                raise ValueError(f"again_on: '{name}' is none of the destination's columns")
        if self.hourly and self.source != HOURLY_TABLE:
            raise ValueError(f"hourly: an hour adds rows to {HOURLY_TABLE} only")
        return self


class DatabaseDestination(Common):
    """A table of a database, staged and merged in one transaction.

    Attributes:
        table: ``schema.table`` (MySQL: ``table``); made if it is not there and may be.
        mode: ``mirror`` deletes rows of ours that are no more; ``upsert`` leaves them, unless
            nothing allows them to stay. Rows that we did not write are never touched.
    """

    kind: Literal["postgres", "mysql"]
    connection: Name
    table: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$")]
    mode: Literal["mirror", "upsert"] = "mirror"
    create: bool = True


class Answer(Strict):
    """How a receiver says in its JSON answer what it has taken.

    Attributes:
        path, equals: a value in the answer that says all is well (``status``, ``ok``); anything
            else is a refusal, whatever the status of HTTP.
        rejected: path to the list of rows that were not taken; each names ``key`` (the row's
            customer_id, or its ``delivery_id``) and perhaps a ``reason``.
    """

    path: str | None = None
    equals: str | int | bool | None = None
    rejected: str | None = None
    key: str = "delivery_id"
    reason: str = "reason"


class WebhookDestination(Common):
    """A web service that takes rows in POST requests, or messages for people.

    Attributes:
        path: below the connection's address.
        batch_size: rows in a request.
        honours_key: whether it takes a request once for each ``Idempotency-Key``. If not, a row
            of which it is not known whether it arrived waits for a person.
        requests_per_second: never more.
        parallel: requests at the same time.
        answer: how it says no with status 200.
        timeout_seconds: silence after which an answer is no longer waited for.
        message: the body for people in chat: any JSON whose texts name columns in braces; one
            request a row.
    """

    kind: Literal["webhook"]
    connection: Name
    path: str = ""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    honours_key: bool = True
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    parallel: Annotated[int, Field(ge=1, le=32)] = 4
    answer: Answer = Answer()
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30
    message: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _message_fits(self) -> "WebhookDestination":
        if self.message is None:
            return self
        if self.batch_size != 1:
            raise ValueError("a message is about one row: set batch_size: 1")
        known = {*self.columns, *self.identifiers, "customer_id"}
        for name in variables(self.message):
            if name not in known:
                raise ValueError(
                    f"message: {{{name}}} is none of the destination's columns "
                    f"({', '.join(sorted(known))})"
                )
        return self


class FilesDestination(Common):
    """A folder here (``data:outbox``), of an object storage, or on an SFTP server, by URL.

    Attributes:
        path: as in sources.yml; ``<path>/<name>/<as_of>/`` is written, ``_SUCCESS`` last.
        formats: which of the export's files go there.
    """

    kind: Literal["files"]
    path: str
    formats: Annotated[
        tuple[Literal["parquet", "csv", "spreadsheet.csv", "jsonl"], ...], Field(min_length=1)
    ] = ("parquet",)


class MailDestination(Common):
    """Mail for people: one a row, by an SMTP connection.

    Attributes:
        to: owner (a value of the column ``owner_column``) -> address; others are held back.
        subject, text: templates that name columns in braces.
    """

    kind: Literal["mail"]
    connection: Name
    owner_column: Name = "owner"
    to: Annotated[dict[str, str], Field(min_length=1)]
    subject: str
    text: str

    @model_validator(mode="after")
    def _templates_fit(self) -> "MailDestination":
        known = {*self.columns, *self.identifiers, "customer_id"}
        for name in (*variables(self.subject), *variables(self.text), self.owner_column):
            if name not in known:
                raise ValueError(f"{{{name}}} is none of the destination's columns")
        return self


Destination = DatabaseDestination | WebhookDestination | FilesDestination | MailDestination


class Destinations(Strict):
    """A company's purposes, and where its rows go."""

    purposes: dict[Name, Purpose] = Field(default_factory=dict)
    destinations: dict[Name, Annotated[Destination, Field(discriminator="kind")]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _purposes_are_declared(self) -> "Destinations":
        from customer360.activation.declared import EXPORTS  # DAG files parse without DuckDB

        for name, destination in self.destinations.items():
            if destination.kind == "files" and name in {one.name for one in EXPORTS}:
                raise ValueError(f"destinations.{name}: an export has this name; take another")
            for purpose in (destination.purpose, *destination.columns.values()):
                if purpose not in self.purposes:
                    raise ValueError(
                        f"destinations.{name}: purpose '{purpose}' is not among purposes: "
                        f"{', '.join(self.purposes) or 'there are none'}"
                    )
        return self


def variables(template: Any) -> list[str]:
    """Names in braces in every text of a template.

    Raises:
        ValueError: braces that do not fit.
    """
    if isinstance(template, str):
        try:
            return [
                name for _, name, _, _ in string.Formatter().parse(template) if name is not None
            ]
        except ValueError as error:
            raise ValueError(f"template: {error}") from None
    if isinstance(template, dict):
        return [name for value in template.values() for name in variables(value)]
    if isinstance(template, list):
        return [name for value in template for name in variables(value)]
    return []


def load_destinations(settings: Settings) -> Destinations:
    """The company's section of destinations.yml; a company, or a project, may have none.

    Raises:
        ConfigError: names file, place and mend.
    """
    path = settings.config_dir / FILE
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        return Destinations()
    return _load(path, settings.company, stamp)


def declared_names(settings: Settings, *, hourly: bool = False) -> list[str]:
    """Names alone, for those who read them again and again: nothing of them is checked.

    Args:
        settings: whose.
        hourly: only those that are sent what an hour has answered.
    """
    path = settings.config_dir / FILE
    declared = _section(path, settings.company).get("destinations") if path.exists() else None
    if not isinstance(declared, dict):
        return []
    return [
        name
        for name, one in declared.items()
        if not hourly or (isinstance(one, dict) and one.get("hourly") is True)
    ]


def _section(path: Path, company: str) -> dict[str, Any]:
    return read_document(path).get(company) or {}


@functools.lru_cache(maxsize=16)
def _load(path: Path, company: str, _stamp: int) -> Destinations:
    try:
        return Destinations.model_validate(_section(path, company))
    except ValidationError as error:
        raise explain(path, company, error) from None


def one_destination(settings: Settings, name: str) -> Destination:
    """One destination by its name.

    Raises:
        ConfigError: there is none of that name; says which there are.
    """
    known = load_destinations(settings).destinations
    if name not in known:
        raise ConfigError(
            f"{FILE}: {settings.company} has no destination '{name}'; it has "
            f"{', '.join(known) or 'none'}"
        )
    return known[name]
