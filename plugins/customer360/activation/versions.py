"""The folders of an export: versions that never change, and links by day that lead to them.

What belongs here: names, writing aside, sealing, showing by one rename, clearing away. What does
not: what is in the files (``files``) and what receivers hold (``ledger``).
"""

import datetime as dt
import shutil
from pathlib import Path

from customer360 import state
from customer360.publish import sync

VERSIONS = ".versions"
PARTIAL = ".partial"
NAME_PATTERN = "????-??-??-*"


def links(home: Path) -> list[Path]:
    """The links that tools follow, by day."""
    return sorted(path for path in home.glob("????-??-??") if path.is_symlink())


def shown(home: Path) -> set[str]:
    """Versions that a link leads to."""
    return {path.readlink().name for path in links(home)}


def folder(home: Path, version: str) -> Path:
    """The folder of a version."""
    return home / VERSIONS / version


def begin(home: Path) -> Path:
    """A folder to write the next version in; nobody sees it."""
    aside = home / VERSIONS / PARTIAL
    aside.mkdir(parents=True)
    return aside


def drop_partial(home: Path) -> None:
    """Remove what :func:`begin` began."""
    shutil.rmtree(home / VERSIONS / PARTIAL, ignore_errors=True)


def seal(home: Path, version: str) -> None:
    """Make what :func:`begin` began an unchangeable version, all of it on the disk."""
    aside = home / VERSIONS / PARTIAL
    for path in aside.iterdir():
        path.chmod(0o444)
        sync(path)
    sync(aside)
    aside.rename(folder(home, version))
    sync(home / VERSIONS)


def free_name(home: Path, as_of: dt.date, delivered: set[str]) -> str:
    """A name under which nothing was ever shown; ``delivered`` are those that the ledger keeps."""
    used = delivered | {path.name for path in (home / VERSIONS).iterdir()}
    number = 1
    while f"{as_of}-{number:03d}" in used:
        number += 1
    return f"{as_of}-{number:03d}"


def show(home: Path, as_of: dt.date, version: str) -> None:
    """Make ``<as_of>`` lead to ``version``: one rename, before it the old export, after the new."""
    aside = home / ".link.partial"
    aside.unlink(missing_ok=True)
    aside.symlink_to(Path(VERSIONS) / version)
    aside.rename(home / str(as_of))
    sync(home)


def sweep(home: Path, delivered: set[str]) -> None:
    """Remove what a killed run left: half a folder, or a whole one that it never showed."""
    drop_partial(home)
    known = delivered | shown(home)
    for path in (home / VERSIONS).glob(NAME_PATTERN):
        if path.name not in known:
            shutil.rmtree(path)


def clear(home: Path, keep_days: int, received: str | None) -> None:
    """Remove versions that are past keeping; what receivers hold is always kept."""
    kept = {links(home)[-1].readlink().name, received}
    oldest = state.now().timestamp() - keep_days * 86400
    for path in (home / VERSIONS).glob(NAME_PATTERN):
        if path.name in kept or path.stat().st_mtime >= oldest:
            continue
        for link in links(home):
            if link.readlink().name == path.name:
                link.unlink()
        shutil.rmtree(path)
