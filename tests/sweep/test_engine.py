"""The engine: computes what is missing, once, and loses nothing of it."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surgicalft.commit import commit
from surgicalft.settings import identity
from surgicalft.sweep.attempt import attempt
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.grid import grid
from surgicalft.sweep.store import Record, Store, StoreError

ROOT = Path(__file__).parents[2]
GUARD = 60.0  # s; a run that nobody interrupts ends by itself, and the test fails


@dataclass(frozen=True)
class Nested:
    epochs: int = 1


@dataclass(frozen=True)
class Toy:
    learning_rate: float = 0.1
    seed: int = 0
    pretrain: Nested | None = None


RUNS = grid(Toy(), learning_rate=[0.1, 0.2], seed=range(3))
both_ways = pytest.mark.parametrize("jobs", [1, 2])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.sqlite") as store:
        yield store


class Execute:
    """Counts its calls; fails for the runs told to."""

    def __init__(self, errors: dict[Toy, BaseException] | None = None) -> None:
        self.calls: list[Toy] = []
        self.errors = errors or {}

    def __call__(self, run: Toy) -> dict[str, Any]:
        self.calls.append(run)
        if run in self.errors:
            raise self.errors[run]
        return {"valid_accuracy": run.learning_rate * 100 + run.seed, "epoch": 0, "device": "cpu"}


def go(store: Store, execute: Callable[[Toy], dict[str, Any]], **options: Any) -> list[Record]:
    options = {"runs": RUNS, "progress": False} | options
    return run_all(store=store, execute=execute, **options)


def test_a_record_says_what_was_run_and_with_what(store: Store) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    run = Toy(seed=0, pretrain=Nested(3))
    (record,) = go(store, Execute(), runs=[run])
    assert record.id == identity(run) and record.settings == asdict(run)
    assert record.settings["seed"] == 0 and record.settings["pretrain"] == {"epochs": 3}
    assert (record.status, record.error, record.valid_accuracy) == ("finished", "", 10.0)
    assert set(record.versions) == {"python", "torch", "numpy", "surgicalft", "commit"}
    assert record.versions["commit"] == commit()
    assert record.versions["torch"] == torch.__version__
    assert before <= datetime.fromisoformat(record.created) <= datetime.now(UTC)


def test_wall_time_is_that_of_the_run(store: Store) -> None:
    def sleep(run: Toy) -> dict[str, Any]:
        time.sleep(0.05 * run.seed)
        return {}

    fast, slow = go(store, sleep, runs=[Toy(seed=0), Toy(seed=2)])
    assert slow.wall_time >= 0.1 and slow.wall_time > fast.wall_time > 0


@both_ways
def test_asking_again_computes_nothing(store: Store, jobs: int) -> None:
    first = Execute()
    records = go(store, first, jobs=jobs)
    assert sorted(first.calls, key=RUNS.index) == RUNS
    assert [r.settings for r in records] == [asdict(run) for run in RUNS]
    again = Execute()
    assert go(store, again, jobs=jobs, runs=RUNS[::-1]) == records[::-1]
    with Store(store.path) as reopened:
        assert go(reopened, again, jobs=jobs) == records
    assert again.calls == []


def test_only_what_is_missing_is_computed(store: Store) -> None:
    go(store, Execute(), runs=RUNS[:4])
    rest = Execute()
    assert len(go(store, rest)) == 6 and rest.calls == RUNS[4:]


@both_ways
def test_equal_runs_are_computed_once(store: Store, jobs: int) -> None:
    execute = Execute()
    records = go(store, execute, runs=[Toy(), Toy(seed=1), Toy()], jobs=jobs)
    assert len(execute.calls) == 2 and records[0] == records[2] != records[1]


def test_no_runs(store: Store) -> None:
    assert go(store, Execute(), runs=[]) == []


def test_jobs_must_be_positive(store: Store) -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        go(store, Execute(), jobs=0)


# What goes wrong in a run


class Diverged(ArithmeticError):
    history = ({"train_loss": 1.0}, {"train_loss": float("inf")})


@both_ways
def test_a_failed_run_is_a_record_and_the_others_go_on(store: Store, jobs: int) -> None:
    errors: dict[Toy, BaseException] = {
        RUNS[0]: ValueError("labels out of range"),
        RUNS[1]: MemoryError(),
        RUNS[2]: torch.OutOfMemoryError("tried to allocate 1 GiB"),
        RUNS[3]: Diverged("the loss is inf"),
        RUNS[4]: OSError("no such file: '\udcff.npy'"),  # a name that is not UTF-8
    }
    records = go(store, Execute(errors), jobs=jobs)
    assert [r.status for r in records] == ["failed"] * 5 + ["finished"]
    assert [r.error for r in records] == [
        "ValueError: labels out of range",
        "MemoryError: ",
        "OutOfMemoryError: tried to allocate 1 GiB",
        "Diverged: the loss is inf",
        "OSError: no such file: '?.npy'",
        "",
    ]
    assert records[3].history == list(Diverged.history) and records[0].history == []
    assert records == [store.get(identity(run)) for run in RUNS]


class Speechless(RuntimeError):
    def __str__(self) -> str:
        raise AttributeError("no message")


@both_ways
def test_odd_ends_of_a_run_do_not_end_the_sweep(store: Store, jobs: int) -> None:
    errors = {RUNS[0]: Speechless(), RUNS[1]: SystemExit(1), RUNS[2]: SystemExit()}
    records = go(store, Execute(errors), jobs=jobs)
    assert [r.status for r in records] == ["failed"] * 3 + ["finished"] * 3
    assert [r.error for r in records[:3]] == [
        "Speechless: (its message can't be read: str() raised AttributeError)",
        "SystemExit: 1",
        "SystemExit: ",
    ]


@both_ways
def test_what_another_coordinator_has_finished_stands(store: Store, jobs: int) -> None:
    def execute(run: Toy) -> dict[str, Any]:
        with Store(store.path) as other:  # the other one is faster
            other.put(attempt(run, Execute()))
        raise MemoryError

    records = go(store, execute, jobs=jobs)
    assert [r.status for r in records] == ["finished"] * 6
    assert records == [store.get(identity(run)) for run in RUNS]


def test_failed_counts_as_done_unless_asked(store: Store) -> None:
    go(store, Execute({RUNS[1]: ValueError("once")}))
    again = Execute()
    assert go(store, again)[1].error == "ValueError: once" and again.calls == []
    records = go(store, again, retry_failed=True)
    assert again.calls == [RUNS[1]] and {r.status for r in records} == {"finished"}
    assert records[1].error == "" and len(store) == 6


class Unstorable(RuntimeError):
    history = ({"weights": torch.zeros(3)},)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ({"history": [{"model": object()}]}, "TypeError: .*not JSON"),
        ({"epoch": 2**70}, "ValueError: epoch must fit in 64 bits, not 11805"),
        ({"test_accuracy": 2**2000}, "OverflowError: "),
        ({"accuracy": 90.0}, "TypeError: .*'accuracy'"),
        (None, "TypeError: "),
        (Unstorable("odd"), "Unstorable: odd"),
    ],
)
def test_an_outcome_that_cannot_be_stored_fails_that_run(
    store: Store, outcome: Any, error: str
) -> None:
    def execute(run: Toy) -> dict[str, Any]:
        if run.seed:
            return {}
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    bad, good = go(store, execute, runs=RUNS[:2])
    assert (bad.status, good.status) == ("failed", "finished")
    assert re.match(error, bad.error)


def test_a_metric_that_is_nan_leaves_the_run_finished(store: Store) -> None:
    outcome = {"test_accuracy": 90.0, "metrics": {"worst_group": float("nan")}}
    (record,) = go(store, lambda run: outcome, runs=RUNS[:1])
    assert (record.status, record.test_accuracy) == ("finished", 90.0)
    assert record.metrics["worst_group"] != record.metrics["worst_group"]


def test_a_mistake_in_asking_shows_before_anything_starts(store: Store) -> None:
    def prepare(runs: Sequence[Toy]) -> None:
        if any(run.seed == 2 for run in runs):
            raise ValueError("unknown seed 2; legal: [0, 1]")

    execute = Execute()
    with pytest.raises(ValueError, match="unknown seed 2"):
        go(store, execute, prepare=prepare)
    assert execute.calls == [] and len(store) == 0
    legal = [run for run in RUNS if run.seed < 2]
    assert len(go(store, execute, runs=legal, prepare=prepare)) == 4


def test_what_is_stored_needs_no_preparation(store: Store) -> None:
    go(store, Execute(), runs=RUNS[:1])
    prepared: list[Sequence[Toy]] = []
    for _ in range(2):
        go(store, Execute(), runs=RUNS[:2], prepare=prepared.append)
    assert prepared == [[RUNS[1]]]


# What goes wrong around it


@both_ways
def test_a_full_disk_ends_the_sweep_and_keeps_what_is_stored(store: Store, jobs: int) -> None:
    store._db.execute("PRAGMA max_page_count = 20")
    execute = Execute()

    def wordy(run: Toy) -> dict[str, Any]:
        return execute(run) | {"provenance": "x" * 8000}

    runs = grid(Toy(), seed=range(100))
    with pytest.raises(StoreError, match="disk is full"):
        go(store, wordy, runs=runs, jobs=jobs)
    kept = {r.id for r in store.records()}
    assert 2 < len(kept) < len(execute.calls) <= len(kept) + 2 * jobs
    store._db.execute("PRAGMA max_page_count = 10000")
    rest = Execute()
    assert [r.status for r in go(store, rest, runs=runs, jobs=jobs)] == ["finished"] * 100
    assert {identity(run) for run in rest.calls} == {identity(run) for run in runs} - kept


@both_ways
def test_a_store_error_is_not_a_failed_run(store: Store, jobs: int) -> None:
    error = StoreError(store.path, "is locked")
    with pytest.raises(StoreError, match="is locked"):
        go(store, Execute({RUNS[0]: error}), jobs=jobs)
    assert not any(r.status == "failed" for r in store.records())


def test_an_interruption_stops_a_run_at_once(store: Store) -> None:
    execute = Execute({RUNS[2]: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        go(store, execute)
    assert execute.calls == RUNS[:3]
    assert [r.id for r in store.records()] == [identity(run) for run in RUNS[:2]]


def test_an_interruption_reaches_runs_in_threads(store: Store) -> None:
    started, ends = [], []
    together = threading.Barrier(2)

    def execute(run: Toy) -> dict[str, Any]:
        started.append(run)
        if run in RUNS[:2]:
            return {}
        together.wait(GUARD)  # both threads compute now, and the first two records are on their way
        if run == RUNS[2]:
            os.kill(os.getpid(), signal.SIGINT)
        end = time.monotonic() + GUARD
        try:
            while time.monotonic() < end:
                time.sleep(0.01)
        except KeyboardInterrupt:
            ends.append(run)
            raise
        return {}

    # A shell starts background jobs with the signal ignored, and so would Python.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            go(store, execute, jobs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(ends, key=RUNS.index) == RUNS[2:4] and len(started) == 4
    assert {r.status for r in store.records()} <= {"finished"}


class Aloud(Store):
    """Says what it has stored."""

    def put(self, record: Record) -> Record:
        stands = super().put(record)
        print(record.id, flush=True)
        return stands


def endless(run: Toy) -> dict[str, Any]:
    """Quick at first; the last runs never end while somebody might still kill them."""
    time.sleep(GUARD if run.seed >= 100 else 0.001)
    return Execute()(run)


@both_ways
def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path, jobs: int) -> None:
    code = f"""
import sys, types
package = types.ModuleType("surgicalft")  # without what its __init__ imports: that takes seconds
package.__path__ = [{str(ROOT / "surgicalft")!r}]
sys.modules["surgicalft"] = package
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_engine import *
with Aloud(sys.argv[1]) as store:
    run_all(grid(Toy(), seed=range(120)), store, endless, jobs={jobs}, progress=False)
"""
    path = tmp_path / "results.sqlite"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        reported = [child.stdout.readline().strip() for _ in range(20)]
        child.kill()
        reported += child.stdout.read().split()
        assert child.wait() == -signal.SIGKILL
    runs, execute = grid(Toy(), seed=range(120)), Execute()
    with Store(path) as store, Store(tmp_path / "undisturbed.sqlite") as other:
        kept = {r.id for r in store.records()}
        assert set(reported) <= kept and len(kept) - len(reported) <= 1
        resumed = go(store, execute, runs=runs)
        assert {identity(run) for run in execute.calls} == {identity(run) for run in runs} - kept
        whole = go(other, Execute(), runs=runs)
        assert list(map(outcome, resumed)) == list(map(outcome, whole))


def outcome(record: Record) -> tuple[Any, ...]:
    return record.id, record.settings, record.status, record.valid_accuracy


# Threads of PyTorch


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("threads", [1, 2])
@both_ways
def test_a_run_computes_with_the_threads_given(store: Store, jobs: int, threads: int) -> None:
    def count(run: Toy) -> dict[str, Any]:
        torch.zeros(8, 8) @ torch.zeros(8, 8)
        return {"n_test": torch.get_num_threads()}

    records = go(store, count, jobs=jobs, threads_per_run=threads)
    assert {r.n_test for r in records} == {threads}
    assert torch.get_num_threads() == 2  # as it was


@pytest.mark.usefixtures("two_threads")
def test_threads_are_given_back_after_an_error(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(store, Execute({RUNS[0]: KeyboardInterrupt()}))
    assert torch.get_num_threads() == 2


def train(run: Toy) -> dict[str, Any]:
    """A few steps of a small convolutional network; large sums, which threads would split."""
    random = torch.Generator().manual_seed(run.seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 10, bias=False)
    )
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=random)
    optimiser = torch.optim.Adam(network.parameters(), lr=run.learning_rate)
    images = torch.rand(32, 3, 32, 32, generator=random)
    labels = torch.randint(10, (32,), generator=random)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append({"train_loss": loss.item()})
    bits = b"".join(p.detach().numpy().tobytes() for p in network.parameters())
    return {"history": losses, "provenance": hashlib.sha256(bits).hexdigest()}


@pytest.mark.usefixtures("two_threads")
def test_results_are_the_same_bits_for_any_number_of_jobs(tmp_path: Path) -> None:
    outcomes = []
    for jobs in (1, 2):
        with Store(tmp_path / f"{jobs}.sqlite") as store:
            records = go(store, train, jobs=jobs)
            assert {r.status for r in records} == {"finished"}, records
            outcomes.append([(r.history, r.provenance) for r in records])
    assert outcomes[0] == outcomes[1]
    assert len({bits for _, bits in outcomes[0]}) == len(RUNS)  # runs do differ


# The bar


def test_the_bar_counts_stored_and_failed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    go(store, Execute({RUNS[0]: ValueError("bad")}), runs=RUNS[:2], progress=False)
    assert capsys.readouterr().err == ""
    go(store, Execute({RUNS[5]: ValueError("bad")}), progress=True)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "6/6" in last and "stored=2" in last and "failed=2" in last
