"""Publishing is killed at every moment; readers may only ever see one whole run."""

import datetime as dt
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from customer360 import publish, state
from customer360.exceptions import PublishError
from customer360.settings import Settings
from tests.faults.killing import kill_at, moments
from tests.publish.company import DAY, INFO, open_state, publish_run, run_ids, write_marts

NEXT_DAY = DAY + dt.timedelta(days=1)


def publish_second(settings: Settings) -> None:
    """Publish the marts of run 2, which are built and begun already."""
    work_file = settings.work_dir / "two" / "marts.duckdb"
    publish.publish(settings, open_state(settings), work_file, "two", NEXT_DAY, INFO)


def publish_second_in_two_steps(settings: Settings) -> None:
    """The planted bug: the pointer is removed before it is made anew."""

    def point(settings: Settings, target: Path) -> None:
        pointer = settings.snapshots_dir / publish.POINTER
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(target.name)

    publish._point = point
    publish_second(settings)


def publish_second_in_place(settings: Settings) -> None:
    """The planted bug: the snapshot is copied straight to its name, pointer first."""

    def copy(settings: Settings, work_file: Path, name: str, run_id: str) -> Path:
        target = settings.snapshots_dir / name
        target.touch()
        publish._point(settings, target)
        shutil.copyfile(work_file, target)
        return target

    publish._copy = copy
    publish_second(settings)


def ready(folder: Path) -> Settings:
    """Run 1 is published, run 2 is built."""
    from tests.publish.company import make_settings

    settings = make_settings(folder)
    publish_run(settings, "one")
    state.begin_run(open_state(settings), "two", NEXT_DAY)
    write_marts(settings, "two")
    return settings


def worlds(template: Settings, folder: Path):
    """Copies of the world to break, one after the other."""
    number = 0
    while True:
        copy = folder / str(number)
        shutil.copytree(template.data_dir, copy, symlinks=True)
        yield Settings("acme", copy, template.threads, template.memory_limit)
        shutil.rmtree(copy)
        number += 1


def what_readers_see(settings: Settings) -> str:
    """The run that a reader finds, or what is wrong."""
    try:
        seen = run_ids(publish.snapshot_path(settings))
    except (PublishError, duckdb.Error, OSError) as error:
        return f"error: {type(error).__name__}"
    return seen.pop() if len(seen) == 1 else f"mixed: {seen}"


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_and_a_rerun_ends_in_the_new(tmp_path):
    template = ready(tmp_path / "template")
    copies = worlds(template, tmp_path / "copies")
    names = moments(publish_second, next(copies))
    assert {"os.rename", "os.sendfile", "os.fsync", "commit", "fcntl.flock"} <= set(names)
    seen = []
    for number, name in enumerate(names):
        settings = next(copies)
        kill_at(number, publish_second, settings)
        seen.append(what_readers_see(settings))
        assert seen[-1] in ("one", "two"), f"killed at {name}: readers see {seen[-1]}"
        publish_second(settings)
        assert what_readers_see(settings) == "two", f"killed at {name}"
        left = {path.name for path in settings.snapshots_dir.iterdir()}
        assert left == {
            ".publish.lock",
            "current.duckdb",
            "customer360-2026-03-01-one.duckdb",
            "customer360-2026-03-02-two.duckdb",
        }, f"killed at {name}"
        found = publish.snapshot_rollback(settings, open_state(settings))
        assert run_ids(found) == {"one"}, f"killed at {name}"
    assert "one" in seen
    assert "two" in seen
    assert seen == sorted(seen), "once the pointer has moved it does not move back"


@pytest.mark.parametrize("planted", [publish_second_in_two_steps, publish_second_in_place])
def test_the_same_kills_catch_a_publish_that_is_not_atomic(tmp_path, planted):
    copies = worlds(ready(tmp_path / "template"), tmp_path / "copies")
    names = moments(planted, next(copies))
    for number in reversed(range(len(names))):  # from the end: the pointer moves late
        settings = next(copies)
        kill_at(number, planted, settings)
        if what_readers_see(settings) not in ("one", "two"):
            return
    pytest.fail("the kills do not see that this publish is not atomic")


def limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))


@pytest.mark.parametrize("space", ["file-size limit", "small file system"])
def test_a_full_disk_is_a_clear_failure_and_the_old_snapshot_is_still_served(tmp_path, space):
    volume = tmp_path / "volume"
    volume.mkdir()
    code = (
        "import pathlib, sys\n"
        "from customer360.exceptions import PublishError\n"
        "from tests.publish import test_publish_faults as here\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "settings = here.ready(folder)\n"
        "with here.duckdb.connect(str(settings.work_dir / 'two' / 'marts.duckdb')) as marts:\n"
        "    marts.execute('create table wide as select uuid() as noise from range(200000)')\n"
        "if len(sys.argv) > 2: here.limit_file_size()\n"
        "try: here.publish_second(settings)\n"
        "except PublishError as error: print(error)\n"
        "left = [path.name for path in settings.snapshots_dir.iterdir() if 'two' in path.name]\n"
        "print(here.what_readers_see(settings), left)\n"
    )
    run = [sys.executable, "-c", code, str(volume)]
    if space == "file-size limit":
        run.append("limited")
    else:
        mounted = f'mount -t tmpfs -o size=12m tmpfs {volume} && exec "$@"'
        run = ["unshare", "--mount", "sh", "-c", mounted, "sh", *run]
        probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(volume)]
        if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
            pytest.skip("this user may not mount a file system")
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    message, seen = done.stdout.splitlines()
    assert "The last snapshot still serves" in message
    assert seen == "one []"
