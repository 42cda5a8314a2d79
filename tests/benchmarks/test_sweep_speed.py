"""What the engine itself costs: runs that compute nothing, and a grid that is all done.

Both bars are absolute, since they are promises to whoever waits: 20 ms a run and 2 s to resume 10,000 runs.
"""

from dataclasses import dataclass

import pytest

from surgicalft.sweep.cluster import connect
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.grid import grid
from surgicalft.sweep.store import Store

RUNS, DONE = 400, 10_000
OVERHEAD, RESUME = 0.020, 2.0  # s


@dataclass(frozen=True)
class Idle:
    seed: int
    learning_rate: float = 0.1


def execute(run):
    history = [{"train_loss": 0.1, "valid_accuracy": 50.0} for _ in range(15)]
    return {"history": history, "epoch": 3, "valid_accuracy": 50.0}


@pytest.mark.parametrize("where", ["one run at a time", "two threads", "two workers"])
def test_overhead(benchmark, tmp_path, where):
    runs = grid(Idle(0), seed=range(RUNS))

    def go(path, cluster):
        jobs = 2 if where == "two threads" else 1
        with Store(path) as store:
            run_all(runs, store, execute, jobs, progress=False, cluster=cluster)

    if where == "two workers":
        with connect("local", workers=2) as client:
            address = client.scheduler.address
            go(tmp_path / "imports.sqlite", address)  # once a worker, not once a run
            benchmark.pedantic(go, (tmp_path / "runs.sqlite", address))
    else:
        benchmark.pedantic(go, (tmp_path / "runs.sqlite", ""))
    seconds = benchmark.stats.stats.max / RUNS
    print(f"\n{where}: {1000 * seconds:.1f} ms a run")
    assert seconds <= OVERHEAD


def test_a_grid_that_is_done_resumes(benchmark, tmp_path):
    runs = grid(Idle(0), seed=range(DONE))
    with Store(tmp_path / "runs.sqlite") as store:
        run_all(runs, store, execute, progress=False)

    def resume():
        with Store(tmp_path / "runs.sqlite") as store:
            assert len(run_all(runs, store, execute, progress=False)) == DONE

    benchmark.pedantic(resume, rounds=3)
    print(f"\n{DONE} runs: {benchmark.stats.stats.median:.2f} s")
    assert benchmark.stats.stats.median <= RESUME
