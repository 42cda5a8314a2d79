"""Made once, kept while there is room, by one thread at a time."""

import threading
import time

from surgicalft.recent import Recent


def test_least_recently_used_goes_first_and_the_newest_stays():
    kept: Recent[str] = Recent(limit=5, size=len)
    for key, value in (("a", "aa"), ("b", "bb"), ("a", "never"), ("c", "cc")):
        kept.get(key, lambda value=value: value)
    assert kept.get("a", lambda: "new") == "aa"
    assert kept.get("b", lambda: "new") == "new"
    assert kept.get("d", lambda: "longer than all") == "longer than all" and kept.size == 15


def test_two_threads_make_a_value_once():
    kept: Recent[int] = Recent(limit=3)
    made = []

    def make():
        time.sleep(0.05)
        made.append(1)
        return 7

    threads = [threading.Thread(target=lambda: kept.get("key", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_not_kept():
    kept: Recent[int] = Recent(limit=3)

    def fail():
        raise OSError("once")

    for attempt in (fail, lambda: 5):
        try:
            value = kept.get("key", attempt)
        except OSError:
            continue
    assert value == 5
