"""Web services: page after page of JSON records, none lost and none twice.

What belongs here: which page comes next, when a listing ends, and what has been read already. What
does not: HTTP (``customer360.sources.web_service``) and the columns of a record
(``customer360.sources.json_rows``).

A page is committed to the reading's workspace by one rename of a folder that holds its records and
what to ask next, so a reading that failed or was killed goes on behind its last whole page. Records
stay as the service wrote them, one a line. The source may change while it is paged: rows at or
after the window's end are cut by the cursor, what moved meanwhile comes again within the look-back,
and raw tells duplicates by their key.
"""

import datetime as dt
import errno
import hashlib
import itertools
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import httpx

from customer360.config import Pagination, Source, Table
from customer360.connections import resolve
from customer360.exceptions import BusyError, SourceError
from customer360.settings import Settings
from customer360.sources.json_rows import json_relation
from customer360.sources.relation import Reading, Relation
from customer360.sources.web_service import Answer, RefusedError, WebService
from customer360.warehouse import quote

log = logging.getLogger(__name__)

MAX_PAGES = 100_000
MAX_EMPTY_PAGES = 20
"""In a row, each naming another cursor; some services hand out a few."""

PASSES = 3
"""How often a listing by page numbers is read while it keeps moving."""

Position = str | int | None
"""What to ask: a page number, a cursor, an address; None for the first cursor or address."""


@dataclass(frozen=True)
class Page:
    """A page that was committed, without its records.

    Attributes:
        asked: digest of the position it was asked for.
        records, sha256: how many, and of their text.
        following: what to ask next.
        is_last: whether nothing follows.
        total: all records, as this answer says.
    """

    number: int
    asked: str
    records: int
    sha256: str
    following: Position
    is_last: bool
    total: int | None


class Workspace:
    """The pages of one reading, as they were committed."""

    def __init__(self, folder: Path, request: str) -> None:
        """Take up what an earlier attempt at the same ``request`` (a digest) has left."""
        self.folder = folder
        self.request = request
        self._forget()
        mark = folder / "request"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != request:
            self.clear()
            return
        for leftover in folder.glob(".page-*"):
            shutil.rmtree(leftover)
        for number in itertools.count(1):
            path = self._page(number) / "page.json"
            if not path.is_file():
                break
            self._take(Page(**json.loads(path.read_text(encoding="utf-8"))))
        if self.is_whole:
            # It was read to its end and did not land: perhaps it was not what the contract says,
            # and the service has been corrected since.
            self.clear()

    def clear(self) -> None:
        """Throw everything away and begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / "request").write_text(self.request, encoding="utf-8")
        self._forget()

    @property
    def is_whole(self) -> bool:
        """Whether the last page is there."""
        return bool(self.pages) and self.pages[-1].is_last

    def commit(self, page: Page, lines: list[str]) -> None:
        """Add a whole page.

        Raises:
            BusyError: another process has committed the same page.
        """
        aside = Path(tempfile.mkdtemp(prefix=".page-", dir=self.folder))
        with (aside / "records.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        (aside / "page.json").write_text(json.dumps(asdict(page)), encoding="utf-8")
        try:
            aside.rename(self._page(page.number))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise
            raise BusyError(
                f"{self.folder.parent.name}: another process is reading the same day; let it "
                "finish, or end it, and run this again"
            ) from None
        self._take(page)

    def records(self) -> Path:
        """All records, one a line, in one file."""
        file = self.folder / "records.jsonl"
        with file.open("wb") as whole:
            for page in self.pages:
                with (self._page(page.number) / "records.jsonl").open("rb") as part:
                    shutil.copyfileobj(part, whole)
        return file

    def content(self) -> list[str]:
        """What tells two readings of a listing apart."""
        return [page.sha256 for page in self.pages]

    def _page(self, number: int) -> Path:
        return self.folder / f"{number:06d}"

    def _forget(self) -> None:
        self.pages: list[Page] = []
        self.asked: set[str] = set()
        self.by_content: dict[str, int] = {}
        self.rows = 0

    def _take(self, page: Page) -> None:
        self.pages.append(page)
        self.asked.add(page.asked)
        self.rows += page.records
        if page.records:
            self.by_content[page.sha256] = page.number


class RestSession:
    """A web service, read table by table."""

    connection: duckdb.DuckDBPyConnection | None = None

    def __init__(self, service: WebService) -> None:
        self.service = service

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:  # noqa: ARG002, the protocol's
        """A service says its columns with its first page."""
        return None

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:
        """The records of every page.

        Raises:
            SourceError: no whole answer after all attempts, pages that repeat, or a listing that
                does not hold still. Pages read before stay in the workspace.
        """
        assert reading.table.request
        workspace = Workspace(reading.workspace, self._digest(reading))
        before: list[str] = []
        for attempt in range(1, PASSES + 1):
            self._read(reading, workspace)
            relation = json_relation(
                connection,
                reading.name,
                reading.table,
                [workspace.records()],
                workspace=reading.workspace / "rows",
                file_names=[reading.table.request.path],
            )
            total = workspace.pages[-1].total
            is_short = total is not None and workspace.rows < total
            # Twice the same is not a moving listing: the service hands those records out twice.
            is_still = workspace.content() == before
            if not is_short and (
                is_still or not _has_moved(connection, reading, workspace, relation)
            ):
                return relation
            log.warning(
                "%s: the listing changed while it was read (reading %d of %d)",
                reading.name,
                attempt,
                PASSES,
            )
            before = workspace.content()
            workspace.clear()
        if is_short:
            raise SourceError(
                f"{reading.name}: the service says in `total` that there are more records than its "
                f"pages hold, {PASSES} times in a row"
            )
        raise SourceError(
            f"{reading.name}: the listing changes while it is read, {PASSES} times in a row, so "
            "that a record may be missed. Let the service filter (until_parameter), use its cursor "
            "pagination if it has one, or read it when it rests."
        )

    def close(self) -> None:
        """Let go of the service."""
        self.service.close()

    def _read(self, reading: Reading, workspace: Workspace) -> None:
        """Commit every page that is missing."""
        assert reading.table.request
        pagination = reading.table.request.pagination
        is_resumed = bool(workspace.pages)
        while not workspace.is_whole:
            pages = workspace.pages
            number = len(pages) + 1
            what = f"{reading.name}: page {number}"
            if number > MAX_PAGES:
                raise SourceError(
                    f"{what}: more pages than {MAX_PAGES:,}; ask for larger ones (pagination.size)"
                )
            position = pages[-1].following if pages else _first(pagination)
            try:
                answer = self.service.ask(
                    what, self._url(reading, position), reading.table.encoding
                )
            except RefusedError:
                if not is_resumed:
                    raise
                # A cursor that an earlier attempt was given may be too old by now.
                log.warning("%s is refused to a reading that goes on; it begins anew", what)
                workspace.clear()
                is_resumed = False
                continue
            is_resumed = False
            lines = _records(what, reading.table.request.records, answer)
            page = self._judge(what, pagination, workspace, position, answer, lines)
            if reading.is_sample:
                page = replace(page, is_last=True, total=None)
            workspace.commit(page, lines)

    def _judge(
        self,
        what: str,
        pagination: Pagination,
        workspace: Workspace,
        position: Position,
        answer: Answer,
        lines: list[str],
    ) -> Page:
        """The page that an answer is, unless it shows that the service goes round in a circle."""
        asked, sha256 = _hash(position), _hash(lines)
        if lines and sha256 in workspace.by_content:
            raise SourceError(
                f"{what} holds the same records as page {workspace.by_content[sha256]}: the "
                "service goes round in a circle. See whether it knows the `parameter` of its "
                "pagination; if it repeats its last page, declare `is_short_last` or `total`."
            )
        total = _total(what, pagination, answer)
        read = workspace.rows + len(lines)
        following = self._following(what, pagination, position, answer, len(lines), read, total)
        again = None if following is None else _hash(following)
        if again == asked or again in workspace.asked:
            if lines:
                raise SourceError(
                    f"{what}: the service names a {pagination.kind} that it named before: it would "
                    "go round in a circle. The page is not kept; run it again, and tell the owner "
                    "of the service if it stays so."
                )
            following = None  # a service that always names a cursor says so that there is no more
        if following is not None and not lines:
            tail = workspace.pages[1 - MAX_EMPTY_PAGES :]
            if len(tail) == MAX_EMPTY_PAGES - 1 and not any(page.records for page in tail):
                raise SourceError(
                    f"{what}: {MAX_EMPTY_PAGES} empty pages in a row, and always another one named"
                )
        return Page(
            number=len(workspace.pages) + 1,
            asked=asked,
            records=len(lines),
            sha256=sha256,
            following=following,
            is_last=following is None,
            total=total,
        )

    def _following(
        self,
        what: str,
        pagination: Pagination,
        position: Position,
        answer: Answer,
        count: int,
        read: int,
        total: int | None,
    ) -> Position:
        """What to ask after ``answer``; None where it is the last."""
        if pagination.kind == "page":
            is_whole = total is not None and read >= total
            is_short = pagination.is_short_last and count < pagination.size
            assert isinstance(position, int)
            return None if count == 0 or is_whole or is_short else position + 1
        if pagination.kind == "cursor":
            assert pagination.next
            cursor = _at(answer.document, pagination.next)
            if cursor is _MISSING and position is None and count >= pagination.size:
                raise SourceError(
                    f"{what} is full, and the answer has no `{pagination.next}` that would name "
                    "the next one; correct pagination.next (or its size)"
                )
            if cursor in (_MISSING, None, "", False):
                return None
            if not isinstance(cursor, str | int):
                raise SourceError(f"{what}: `{pagination.next}` is neither text nor a number")
            return cursor
        if pagination.kind == "link":
            link = _at(answer.document, pagination.next) if pagination.next else answer.link
            if link in (_MISSING, None, ""):
                return None
            if not isinstance(link, str):
                raise SourceError(f"{what}: `{pagination.next}` is not an address")
            return str(self.service.follow(what, answer.url, link))
        return None

    def _url(self, reading: Reading, position: Position) -> httpx.URL:
        request = reading.table.request
        assert request
        pagination = request.pagination
        if pagination.kind == "link" and isinstance(position, str):
            return httpx.URL(position)
        parameters = dict(request.parameters)
        for parameter, moment in (
            (request.since_parameter, reading.start),
            (request.until_parameter, reading.end),
        ):
            if parameter and moment:
                parameters[parameter] = _moment(reading, moment)
        if pagination.size_parameter:
            parameters[pagination.size_parameter] = pagination.size
        if pagination.parameter and position is not None:
            parameters[pagination.parameter] = position
        return self.service.url(request.path, parameters)

    def _digest(self, reading: Reading) -> str:
        """Changes when pages that were read would not be asked for in the same way again."""
        request = reading.table.request
        assert request
        first = self._url(reading, _first(request.pagination))
        return _hash([str(first), request.model_dump(mode="json"), reading.table.encoding])


def open_session(settings: Settings, name: str, source: Source) -> RestSession:  # noqa: ARG001, every connector's
    """Prepare to ask the service; nothing is sent yet.

    Raises:
        ConfigError: the connection is not known, or is no web address.
    """
    assert source.connection
    connection = resolve(settings, source.connection)
    return RestSession(WebService(connection, source.requests_per_second))


def _first(pagination: Pagination) -> Position:
    return pagination.first if pagination.kind == "page" else None


def _moment(reading: Reading, moment: dt.datetime) -> str | int:
    """A bound of the window (naive UTC), written as the cursor's column is."""
    aware = moment.replace(tzinfo=dt.UTC)
    column = reading.table.columns[reading.table.cursor.column] if reading.table.cursor else None
    if column and column.format in ("epoch_s", "epoch_ms"):
        return int(aware.timestamp() * (1000 if column.format == "epoch_ms" else 1))
    if column and column.type == "date":
        local = aware.astimezone(reading.company.zone).date()
        return local.strftime(column.format) if column.format else local.isoformat()
    if column and column.format:
        return aware.astimezone(reading.company.zone_of(column)).strftime(column.format)
    return aware.isoformat().replace("+00:00", "Z")


_MISSING = object()


def _at(document: Any, path: str) -> Any:
    """The value at a dotted path, or ``_MISSING``."""
    for key in path.split(".") if path else ():
        if not isinstance(document, dict) or key not in document:
            return _MISSING
        document = document[key]
    return document


def _total(what: str, pagination: Pagination, answer: Answer) -> int | None:
    if pagination.total is None or answer.document is None:
        return None
    total = _at(answer.document, pagination.total)
    if isinstance(total, str) and total.isdecimal():
        return int(total)
    if not isinstance(total, int) or isinstance(total, bool):
        raise SourceError(f"{what}: the answer has no number at `{pagination.total}` (total)")
    return total


def _records(what: str, path: str, answer: Answer) -> list[str]:
    """The records as the service wrote them, one a line: numbers keep their digits."""
    found = None if answer.document is None else _at(answer.document, path)
    if found is None:
        return []
    if not isinstance(found, list):
        wrong = f"has no list at `{path}`" if path else "is not a list itself"
        raise SourceError(f"{what}: the answer {wrong}; correct request.records in sources.yml")
    return list(_elements(answer.text, _place(answer.text, path)))


_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    assert match
    return match.end()


def _place(text: str, path: str) -> int:
    """Where in the text of a valid document the value at ``path`` begins."""
    index = _skip(text, 0)
    for key in path.split(".") if path else ():
        found = index
        index = _skip(text, index + 1)
        while text[index] != "}":
            name, index = _DECODER.raw_decode(text, index)
            start = _skip(text, _skip(text, index) + 1)
            if name == key:
                found = start
            index = _skip(text, _DECODER.raw_decode(text, start)[1])
            if text[index] == ",":
                index = _skip(text, index + 1)
        index = found
    return index


def _elements(text: str, index: int) -> Iterator[str]:
    """The text of each element of the array that begins at ``index``, on one line."""
    index = _skip(text, index + 1)
    while text[index] != "]":
        end = _DECODER.raw_decode(text, index)[1]
        # A line break inside a JSON string is escaped, so these are blanks between values.
        yield text[index:end].replace("\n", " ").replace("\r", " ")
        index = _skip(text, end)
        if text[index] == ",":
            index = _skip(text, index + 1)


def _has_moved(
    connection: duckdb.DuckDBPyConnection,
    reading: Reading,
    workspace: Workspace,
    relation: Relation,
) -> bool:
    """Whether records changed places between pages that are told apart by number alone.

    A record that moves to the end of such a listing pulls another one across the border of a page,
    where nobody reads it; it shows as a key that came twice, or as a total that falls.
    """
    assert reading.table.request
    filled = [page for page in workspace.pages if page.records]
    if reading.table.request.pagination.kind != "page" or len(filled) < 2:
        return False
    totals = [page.total for page in workspace.pages if page.total is not None]
    if any(later < earlier for earlier, later in itertools.pairwise(totals)):
        return True
    if not set(reading.table.key) <= set(relation.columns):
        return False  # the contract will say so
    keys = ", ".join(quote(column) for column in reading.table.key)
    counts = connection.execute(
        f"select (select count(*) from ({relation.sql})), "
        f"(select count(*) from (select distinct {keys} from ({relation.sql})))"
    ).fetchall()
    return bool(counts[0][0] != counts[0][1])


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
