"""Workers and schedulers that die: runs are repeated or fail with their reason, and the sweep can go on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import dask
import pytest
from coordinator import Step, execute
from distributed import wait

from surgicalft.sweep.cluster import ClusterError, _record, connect
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask's sockets, when it closes


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        yield store


def go(runs, store, cluster):
    return run_all(runs, store, execute, progress=False, cluster=cluster)


def test_runs_that_end_badly_leave_their_reason(tmp_path, store):
    faults = ("", "diverges", "fills memory", "kills its worker once", "kills its worker", "")
    runs = [Step(i, fault=fault, folder=str(tmp_path)) for i, fault in enumerate(faults)]
    with connect("local", workers=2) as client:
        records = go(runs, store, client.scheduler.address)
    expected = ["finished", "failed", "failed", "finished", "failed", "finished"]
    assert [record.status for record in records] == expected
    assert records[1].error == "FloatingPointError: the loss of run 1 is NaN"
    assert "MemoryError" in records[2].error and "Unable to allocate" in records[2].error
    assert "4 workers died while they computed it" in records[4].error
    calm = go([replace(run, fault="") for run in runs], store, "")
    for i in (0, 3, 5):
        assert records[i].valid_loss == calm[i].valid_loss


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_one_worker_that_is_killed_again_and_again_costs_only_the_killers(tmp_path, store, seconds):
    """Runs that had finished, but whose results still lay on the dead worker, are computed again."""
    faults = ("", "kills its worker", "", "", "kills its worker", "")
    runs = [Step(i, seconds, fault, str(tmp_path)) for i, fault in enumerate(faults)]
    with connect("local", workers=1) as client:
        records = go(runs, store, client.scheduler.address)
    failed = [record.error for record in records if record.status == "failed"]
    assert [record.status == "failed" for record in records] == ["kills" in f for f in faults]
    assert all("workers died while they computed it" in error for error in failed)


def test_a_result_lost_with_its_worker_is_computed_again(tmp_path):
    """The worker dies between its run's end and the answer's arrival."""
    with connect("local", workers=1) as client:
        future = client.submit(execute, Step(0, folder=str(tmp_path)), pure=False)
        wait(future)
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        assert _record(future)["epoch"] == 0


def test_a_worker_that_dask_gives_up_is_started_anew():
    soon = {"distributed.deploy.lost-worker-timeout": "1s"}
    with dask.config.set(soon), connect("local", workers=1) as client:
        before = client.submit(os.getpid, pure=False).result()
        client.sync(client.cluster.workers[0].close)
        assert client.submit(os.getpid, pure=False).result(timeout=120) != before


def test_a_killed_scheduler_ends_the_sweep_and_the_next_call_goes_on(tmp_path, store):
    runs = [Step(i, seconds=0.1) for i in range(30)]
    scheduler, worker, address = _started(tmp_path)
    try:
        killer = threading.Thread(target=_kill_when, args=(store.path, 5, scheduler))
        killer.start()
        with pytest.raises(ClusterError, match="ask again to go on"):
            go(runs, store, address)
        killer.join()
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    kept = store.records()
    assert 5 <= len(kept) < len(runs)
    records = go(runs, store, "")
    assert [record.epoch for record in records] == list(range(30))
    assert [record for record in records if record in kept] == sorted(kept, key=lambda r: r.epoch)


def _started(folder):
    """A scheduler and a worker as processes of their own; their address."""
    note = folder / "scheduler.json"
    path = os.pathsep.join(sys.path)
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--port", "0", "--no-dashboard", "--scheduler-file", note]
    scheduler = subprocess.Popen([*dask, *options])
    end = time.monotonic() + 60
    while not (note.exists() and note.read_text().strip().endswith("}")):
        assert time.monotonic() < end and scheduler.poll() is None
        time.sleep(0.05)
    dask_worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--death-timeout", "30"]
    with connect(_address(note)) as client:
        worker = subprocess.Popen(
            [*dask_worker, _address(note), "--nthreads", "1", "--no-dashboard"],
            env={**os.environ, "PYTHONPATH": path},
        )
        client.wait_for_workers(1, timeout=60)
    return scheduler, worker, _address(note)


def _address(note):
    return json.loads(note.read_text())["address"]


def _kill_when(path, count, process):
    with Store(path) as store:
        while len(store) < count:
            time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
