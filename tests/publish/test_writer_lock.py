import os
import signal
import subprocess
import sys
import threading

import pytest

from customer360.exceptions import BusyError
from customer360.lock import writer_lock


def hold(settings) -> subprocess.Popen:
    """Another process that holds the lock until it is killed."""
    code = (
        "import sys, pathlib\n"
        "from customer360.lock import writer_lock\n"
        "from customer360.settings import Settings\n"
        "settings = Settings('acme', pathlib.Path(sys.argv[1]), 2, '1GB')\n"
        "with writer_lock(settings, 'build of run one'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    run = [sys.executable, "-c", code, str(settings.data_dir)]
    holder = subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_writer_is_told_who_holds_the_lock_and_the_kernel_frees_it_on_sigkill(settings):
    holder = hold(settings)
    try:
        message = rf"held by build of run one \(process {holder.pid}, since .*waited 0.2 s"
        with pytest.raises(BusyError, match=message), writer_lock(settings, "me", timeout=0.2):
            pytest.fail("two writers at once")
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with writer_lock(settings, "me", timeout=0):
        pass


def test_a_waiting_writer_goes_on_when_the_first_is_done(settings):
    entered = []

    def second() -> None:
        with writer_lock(settings, "second", timeout=30):
            entered.append("second")

    with writer_lock(settings, "first", timeout=0):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.3)
        entered.append("first is done")
    waiting.join()
    assert entered == ["first is done", "second"]


def test_an_error_inside_frees_the_lock(settings):
    with pytest.raises(RuntimeError), writer_lock(settings, "first", timeout=0):
        raise RuntimeError
    with writer_lock(settings, "second", timeout=0):
        pass
