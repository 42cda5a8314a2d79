"""Threads or processes: what is measured decides, and is measured once."""

import os

import pytest

from surgicalft.sweep import measure
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.measure import Measured, Trial, work
from surgicalft.sweep.store import Store


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """`measure` that counts its calls, and finds processes ahead."""
    calls = []
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))
    found = Measured((1.4, 1.5, 1.2), 2)
    monkeypatch.setattr(measure, "measure", lambda cores: calls.append(cores) or found)
    return calls


@pytest.mark.parametrize(
    ("ratios", "cluster"),
    [
        ((1.4, 1.5, 1.2), "local"),
        ((1.4, 1.5, 0.9), ""),  # not in every round: noise
        ((1.05, 1.08, 1.02), ""),  # not enough to be worth their memory
        ((0.5, 0.6, 0.5), ""),
    ],
)
def test_processes_are_taken_where_they_are_clearly_ahead(ratios, cluster):
    found = Measured(ratios, 2)
    assert found.cluster == cluster
    assert ("so processes" if cluster else "so threads") in found.sentence


def test_it_is_measured_once_for_a_machine_and_its_versions(counted, monkeypatch, capsys):
    assert [measure.fastest(), measure.fastest()] == ["local", "local"]
    assert len(counted) == 1 and capsys.readouterr().out.count("so processes") == 1
    monkeypatch.setattr(measure, "versions", lambda: {"torch": "0.4"})
    measure.fastest()
    assert len(counted) == 2


def test_what_is_kept_may_be_damaged(counted):
    measure.fastest()
    (file,) = measure.cache_dir("measured").iterdir()
    file.write_text(file.read_text()[:20])
    assert measure.fastest() == "local" and len(counted) == 2


def test_a_sweep_asks_when_something_is_missing(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(measure, "fastest", lambda progress: asked.append(progress) or "")
    how = {"progress": False, "cluster": "auto"}
    with Store(tmp_path / "runs.sqlite") as store:
        (record,) = run_all([Trial(0)], store, work, **how)
        assert run_all([Trial(0)], store, work, **how) == [record]
    assert record.status == "finished" and len(record.history) == measure.EPOCHS
    assert asked == [False]


def fails_here(trial):
    """Fails at once in threads of the process that asks: no time is no speed."""
    if os.environ.get("ASKING") == str(os.getpid()):
        raise NameError("module is not installed as a submodule")
    return {}


def fails_elsewhere(trial):
    """As if the workers lacked something."""
    if os.environ.get("ASKING") != str(os.getpid()):
        raise ImportError("no such library")
    return {}


def fine(trial):
    return {}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask's sockets, when it closes
@pytest.mark.parametrize(
    ("execute", "message"),
    [
        (fails_here, "4 of the 4 runs timed in threads failed.*The first: NameError: module"),
        (fails_elsewhere, "4 of the 4 runs timed in processes failed.*The first: ImportError"),
        (fine, None),
    ],
)
def test_failed_runs_are_not_fast_ones(execute, message, monkeypatch):
    monkeypatch.setenv("ASKING", str(os.getpid()))
    if message is None:
        assert len(measure.measure(2, execute).ratios) == measure.ROUNDS
        return
    with pytest.raises(RuntimeError, match=message):
        measure.measure(2, execute)


def test_a_failed_measurement_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))

    def failing(cores):
        raise RuntimeError("4 of the 4 runs timed in threads failed")

    monkeypatch.setattr(measure, "measure", failing)
    with pytest.raises(RuntimeError, match="timed in threads failed"):
        measure.fastest()
    assert not list((tmp_path / "cache").rglob("*.json"))
