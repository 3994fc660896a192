"""The watch over a reading: what it asks of the one connection that tells the progress."""

import threading

from customer360.sources.watch import Watch


def test_limits_that_stand_in_each_other_ask_one_after_another():
    alone, asked = threading.Lock(), threading.Semaphore(0)
    together = []

    def progress():
        if not alone.acquire(blocking=False):
            together.append(True)
            return
        threading.Event().wait(0.05)  # long enough for the other to come
        alone.release()
        asked.release()

    watch = Watch(progress, lambda _: False, set())
    with watch.limit(0.04), watch.limit(0.04):
        for _ in range(6):
            assert asked.acquire(timeout=30)
    assert together == []
