"""A Dask cluster gives the records that this process would, or says at once why it can't."""

import os
import threading
from dataclasses import asdict, dataclass

import pytest
import torch

from surgicalft.sweep import cluster
from surgicalft.sweep.attempt import versions
from surgicalft.sweep.cluster import ClusterError, connect
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask's sockets, when it closes


@dataclass(frozen=True)
class Product:
    seed: int
    size: int = 64


RUNS = [Product(seed) for seed in range(8)]


class Multiply:
    """Sums of a matrix product, whose last bits depend on the number of threads."""

    def __init__(self, device="cpu"):
        self.device = device

    def __call__(self, run):
        if run.seed == 5:
            raise FloatingPointError("the loss is NaN")
        draw = torch.Generator().manual_seed(run.seed)
        a = torch.randn(run.size, 4096, generator=draw)
        return {"valid_loss": (a @ a.T).sum().item(), "device": self.device, "epoch": os.getpid()}


class Locked(Multiply):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Unprepared(Multiply):
    def prepare(self, runs):
        raise FileNotFoundError("no source model here")


@pytest.fixture(scope="module")
def address():
    with connect("local", workers=2) as client:
        yield client.scheduler.address


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        yield store


def go(store, address, execute=None, runs=RUNS, **more):
    how = {"progress": False, "cluster": address, **more}
    return run_all(runs, store, execute or Multiply(), **how)


def same(record):
    left_out = {"wall_time", "created", "epoch"}
    known = {name: value for name, value in asdict(record).items() if name not in left_out}
    # A file of the package may be edited while its tests run.
    known["versions"]["commit"] = known["versions"]["commit"].removesuffix("-dirty")
    return known


def test_records_are_those_of_this_process_to_the_bit(address, store, tmp_path):
    with Store(tmp_path / "here.sqlite") as other:
        here = go(other, "")
    there = go(store, address)
    assert [same(record) for record in there] == [same(record) for record in here]
    assert [record.status for record in there].count("failed") == 1
    assert there[5].error == "FloatingPointError: the loss is NaN"
    assert os.getpid() not in {record.epoch for record in there}


def test_what_is_in_the_store_asks_no_cluster(address, store):
    first = go(store, address)
    assert go(store, "tcp://127.0.0.1:1") == first  # nobody listens there


def test_what_cannot_be_prepared_on_a_worker_is_a_failed_record(address, store):
    record, *_ = go(store, address, Unprepared(), RUNS[:1])
    assert record.status == "failed" and record.error == "FileNotFoundError: no source model here"


def test_the_dashboard_is_named_once(address, store, capsys):
    go(store, address, progress=True)
    assert capsys.readouterr().err.count("dashboard: http://127.0.0.1:") == 1


def test_an_address_where_nobody_answers():
    with (
        pytest.raises(
            ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1 within 1 s"
        ),
        connect("tcp://127.0.0.1:1", timeout=1.0),
    ):
        pass


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            {"cluster": "locl"},
            "cluster must be 'local', 'auto' or a scheduler's address .* not 'locl'",
        ),
        ({"cluster": "local", "workers": 0}, "workers must be at least 1, not 0"),
    ],
)
def test_a_cluster_that_makes_no_sense(store, what, message):
    with pytest.raises(ValueError, match=message):
        run_all(RUNS, store, Multiply(), progress=False, **what)


def test_a_resource_that_nobody_has(address, store):
    with pytest.raises(ClusterError, match="needs a worker with the resource GPU, and none of 2"):
        go(store, address, Multiply("cuda"))
    assert len(store) == 0


def test_an_execute_that_cannot_travel(address, store):
    with pytest.raises(ValueError, match=r"execute must be picklable .*Locked"):
        go(store, address, Locked())


def test_workers_of_another_version(address, store, monkeypatch):
    other = {"python": "3.11.0", "torch": "0.4", "surgicalft": "0.1", "numpy": "2"}
    monkeypatch.setattr(cluster, "versions", lambda: other)
    monkeypatch.setattr(cluster, "_check_versions", lambda client: None)  # a worker that came later
    with pytest.raises(ClusterError, match=r"a worker could not start a run: .*'torch': '0\.4'"):
        go(store, address)
    assert len(store) == 0


def test_versions_are_compared_before_anything_runs(address, store, monkeypatch):
    asking = os.getpid()
    old = {"python": "3.11.0", "torch": "0.4", "surgicalft": "0.1", "numpy": "2"}
    monkeypatch.setattr(cluster, "versions", lambda: old if os.getpid() == asking else versions())
    with pytest.raises(ClusterError, match=r"worker tcp://.* has .*, here are .*'0\.4'"):
        go(store, address)
    assert len(store) == 0
