"""Where files lie: a local folder, or a folder of an object storage behind a URL.

What belongs here: listing what is there, and bringing a file to a local path once. What does not:
which files are wanted, or what they hold (``customer360.sources.files``).
"""

import datetime as dt
import hashlib
import importlib.util
import os
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import fsspec

from customer360.connections import resolve
from customer360.exceptions import SourceError
from customer360.settings import PROJECT, Settings

Opener = Callable[[str, str | None], Any]
"""(URL, name of a connection or None) -> fsspec filesystem; LookupError where it knows none."""

_openers: list[Opener] = []

LOGIN = {"s3": ("key", "secret"), "s3a": ("key", "secret")}
"""Scheme -> what its filesystem calls login and password; the others say username, password."""


def use(opener: Opener) -> None:
    """Ask ``opener`` first for a filesystem from now on in this process."""
    _openers[:] = [opener]


@dataclass(frozen=True)
class Entry:
    """A file that is there.

    Attributes:
        name: path below the folder, with ``/``.
        size: bytes.
        stamp: changes when the file does: its time in nanoseconds, or a number made of its etag.
    """

    name: str
    size: int
    stamp: int


class Folder(Protocol):
    """A place with files."""

    def entries(self, pattern: str) -> Iterator[Entry]:
        """Files that fit a pattern (``a/*.csv``, ``**/*.csv``), by name."""
        ...

    def entry(self, name: str) -> Entry | None:
        """A file as it is now."""
        ...

    def local(self, entry: Entry, workspace: Path) -> Path:
        """A path at which the file can be read."""
        ...


def open_folder(settings: Settings, path: str, connection: str | None) -> Folder:
    """The folder that ``path`` of a source means.

    ``python:<package>/<folder>`` is inside an installed package; ``data:<folder>`` is below the
    company's data folder; ``$NAME`` is taken from the environment; a URL (``s3://bucket/folder``)
    is an object storage, reached by ``connection``; anything relative begins at the project folder.

    Raises:
        SourceError: it names what is not there.
    """
    expanded = os.path.expandvars(path)
    scheme = expanded.partition("://")[0] if "://" in expanded else None
    if scheme == "file":
        expanded = urllib.parse.unquote(expanded.removeprefix("file://"))
    elif scheme:
        return RemoteFolder(_filesystem(settings, expanded, scheme, connection), expanded)
    return LocalFolder(resolve_path(expanded, settings.data_dir))


def resolve_path(declared: str, data_dir: Path) -> Path:
    """The local folder or file that ``declared`` means; see ``open_folder``."""
    if declared.startswith("data:"):
        return data_dir / declared.removeprefix("data:")
    if declared.startswith("python:"):
        package, _, rest = declared.removeprefix("python:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SourceError(f"path {declared}: the Python package '{package}' is not installed")
        return Path(spec.origin).parent / rest
    expanded = os.path.expandvars(declared)
    if "$" in expanded:
        raise SourceError(f"path {declared}: the environment variable it names is not set")
    return PROJECT / expanded


def _filesystem(settings: Settings, url: str, scheme: str, connection: str | None) -> Any:
    for opener in _openers:
        try:
            return opener(url, connection)
        except LookupError:
            continue
    options: dict[str, Any] = {}
    if connection:
        known = resolve(settings, connection)
        options = dict(known.extra)
        login, password = LOGIN.get(scheme, ("username", "password"))
        named: dict[str, Any] = {login: known.login, password: known.password}
        if scheme not in LOGIN:
            named |= {"host": known.host, "port": known.port}
        options |= {key: value for key, value in named.items() if value is not None}
    try:
        return fsspec.filesystem(scheme, **options)
    except (ImportError, ValueError):
        raise SourceError(
            f"path {scheme}://...: no filesystem for {scheme} is installed. Install its fsspec "
            "package (s3fs, gcsfs, adlfs, paramiko), or let Airflow's provider supply it."
        ) from None
    except Exception as error:  # noqa: BLE001, each filesystem raises its own; texts hold secrets
        raise SourceError(
            f"path {scheme}://...: cannot be reached ({type(error).__name__}). Check the "
            f"connection '{connection}'."
        ) from None


class LocalFolder:
    """Files of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def entries(self, pattern: str) -> Iterator[Entry]:
        """Files that fit ``pattern``; a link that leads out of the folder is an error."""
        root = self.folder.resolve()
        for file in sorted(self.folder.glob(pattern)):
            if not file.is_file():
                continue
            name = file.relative_to(self.folder).as_posix()
            if not file.resolve().is_relative_to(root):
                raise SourceError(f"{name} leads out of the source's folder")
            stat = file.stat()
            yield Entry(name, stat.st_size, stat.st_mtime_ns)

    def entry(self, name: str) -> Entry | None:
        """A file as it is now."""
        try:
            stat = (self.folder / name).stat()
        except FileNotFoundError:
            return None
        return Entry(name, stat.st_size, stat.st_mtime_ns)

    def local(self, entry: Entry, workspace: Path) -> Path:  # noqa: ARG002, the protocol's
        """Where it lies."""
        return self.folder / entry.name


class RemoteFolder:
    """Files of an object storage, by fsspec."""

    def __init__(self, filesystem: Any, url: str) -> None:
        self.filesystem = filesystem
        self.url = url
        self.root = str(filesystem._strip_protocol(url)).rstrip("/")

    def __str__(self) -> str:
        return self.url

    def entries(self, pattern: str) -> Iterator[Entry]:
        """Files that fit ``pattern``; each of its parts fits one part of a path, ``**`` any."""
        try:
            self.filesystem.invalidate_cache()
            found = self.filesystem.find(self.root, detail=True)
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001, each filesystem raises its own
            raise self._unreachable(error) from None
        for path, info in sorted(found.items()):
            name = path[len(self.root) :].lstrip("/")
            if _fits(PurePosixPath(name).parts, PurePosixPath(pattern).parts):
                yield self._entry(name, info)

    def entry(self, name: str) -> Entry | None:
        """A file as it is now."""
        try:
            self.filesystem.invalidate_cache()
            return self._entry(name, self.filesystem.info(f"{self.root}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001, each filesystem raises its own
            raise self._unreachable(error) from None

    def local(self, entry: Entry, workspace: Path) -> Path:
        """A copy in the workspace, fetched if it is not there yet in this version."""
        # The object's own name could lead anywhere; only its endings are kept, which say the kind.
        digest = hashlib.sha256(repr(entry).encode()).hexdigest()[:24]
        ending = "".join(PurePosixPath(entry.name).suffixes[-2:])
        target = workspace / "fetched" / (digest + ending[-20:])
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{digest}.part")
        try:
            with (
                self.filesystem.open(f"{self.root}/{entry.name}", "rb") as source,
                aside.open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy, 1_000_000)
        except Exception as error:  # noqa: BLE001, each filesystem raises its own
            raise self._unreachable(error) from None
        if aside.stat().st_size != entry.size:
            raise SourceError(
                f"{entry.name}: {aside.stat().st_size} bytes came where the storage lists "
                f"{entry.size}. Ingest again."
            )
        aside.rename(target)
        return target

    def _entry(self, name: str, info: dict[str, Any]) -> Entry:
        return Entry(name, int(info["size"] or 0), _stamp_of(info))

    def _unreachable(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.url} cannot be read ({type(error).__name__}). Check address and connection."
        )


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _stamp_of(info: dict[str, Any]) -> int:
    """A number that changes when the object does: of its etag, else of its time."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "version_id"):
        if info.get(key):
            digest = hashlib.sha256(str(info[key]).encode()).digest()
            return int.from_bytes(digest[:7], "big")
    for key in ("LastModified", "last_modified", "mtime", "modified", "created"):
        moment = info.get(key)
        if isinstance(moment, dt.datetime):
            return int(moment.timestamp() * 1e9)
        if isinstance(moment, int | float):
            return int(moment * 1e9)
    return 0
