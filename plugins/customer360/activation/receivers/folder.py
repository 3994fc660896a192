"""Files in a folder that a tool picks up: here, in an object storage, or on an SFTP server.

What belongs here: bringing a sealed export there, ``_SUCCESS`` last. What does not: what is in the
files (``exports``).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from customer360.exceptions import ReceiverUnavailableError
from customer360.settings import Settings
from customer360.sources.storage import LocalFolder, open_folder

ALWAYS = ("manifest.json",)
LAST = "_SUCCESS"


def wanted(export: Path, formats: Sequence[str]) -> list[Path]:
    """The files of an export that are asked for, ``_SUCCESS`` last."""
    names = [f"{stem}.{suffix}" for suffix in formats for stem in ("full", "changes")]
    return [export / name for name in (*names, *ALWAYS, LAST)]


def put(
    settings: Settings, path: str, connection: str | None, below: str, files: Sequence[Path]
) -> None:
    """Copy ``files`` to ``<path>/<below>/``; a reader that waits for ``_SUCCESS`` sees them whole.

    Raises:
        ReceiverUnavailableError: the folder cannot be written to; trying again does no harm.
    """
    folder = open_folder(settings, path, connection)
    try:
        if isinstance(folder, LocalFolder):
            target = folder.folder / below
            target.mkdir(parents=True, exist_ok=True)
            (target / LAST).unlink(missing_ok=True)
            for file in files:
                aside = target / f".{file.name}.new"
                aside.unlink(missing_ok=True)
                shutil.copyfile(file, aside)
                aside.replace(target / file.name)
            return
        remote: Any = folder  # the only other kind: a filesystem and a folder in it
        storage, root = remote.filesystem, f"{remote.root}/{below}"
        storage.makedirs(root, exist_ok=True)
        if storage.exists(f"{root}/{LAST}"):
            storage.rm(f"{root}/{LAST}")
        for file in files:
            storage.put_file(str(file), f"{root}/{file.name}")
    except Exception as error:  # noqa: BLE001, each filesystem raises its own
        raise ReceiverUnavailableError(
            f"{folder} cannot be written to ({type(error).__name__}); check address, connection "
            "and rights. Nothing counts as delivered"
        ) from None
