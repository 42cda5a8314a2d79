"""A sweep that is killed loses no finished run, counts none twice, and ends as an undisturbed one does."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from coordinator import execute, steps

from surgicalft.settings import identity
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store

RUNS, SECONDS = 40, 0.02
SCRIPT = Path(__file__).with_name("coordinator.py")


def start(path, cluster=""):
    command = [sys.executable, SCRIPT, path, str(RUNS), str(SECONDS), cluster]
    return subprocess.Popen(command)


def stored(path):
    """Records by identity; none where the store is not made yet."""
    if not path.exists():
        return {}
    with Store(path) as store:
        return {record.id: record for record in store.records()}


def table(records):
    """What a sweep finds: without times."""
    return {id: {**asdict(r), "wall_time": 0.0, "created": ""} for id, r in records.items()}


def undisturbed(tmp_path):
    with Store(tmp_path / "undisturbed.sqlite") as store:
        run_all(steps(RUNS, SECONDS), store, execute, progress=False)
    return table(stored(tmp_path / "undisturbed.sqlite"))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, kills):
    path, draw, kept, ended = tmp_path / "runs.sqlite", random.Random(0), {}, 0
    for _ in range(kills):
        before = len(kept)
        with start(path) as process:
            _wait_for_more_than(before, path, process)
            time.sleep(draw.uniform(0, 4 * SECONDS))
            ended += process.poll() is None
            process.send_signal(signal.SIGKILL)
        now = stored(path)
        assert {id: now[id] for id in kept} == kept  # the very records, not computed again
        kept = now
        if len(kept) == RUNS:
            path, kept = path.with_name(f"{path.stem}-.sqlite"), {}
    assert ended >= kills // 2  # it was running when it was killed
    with start(path) as process:
        assert process.wait(60) == 0
    final = stored(path)
    assert {id: final[id] for id in kept} == kept
    assert table(final) == undisturbed(tmp_path)
    assert final.keys() == {identity(run) for run in steps(RUNS, SECONDS)}
    assert [r.error for r in final.values() if r.status == "failed"] == [
        "FloatingPointError: the loss of run 3 is NaN"
    ]


def test_two_coordinators_on_one_store(tmp_path):
    path = tmp_path / "runs.sqlite"
    with start(path) as one, start(path) as other:
        assert [one.wait(120), other.wait(120)] == [0, 0]
    assert table(stored(path)) == undisturbed(tmp_path)


def _wait_for_more_than(count, path, process):
    end = time.monotonic() + 60
    while len(stored(path)) <= count and process.poll() is None:
        assert time.monotonic() < end, "the sweep does not get on"
        time.sleep(0.005)
