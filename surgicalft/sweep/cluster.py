"""Runs on a Dask cluster: workers compute and hand back records, which the process that asked writes to its store.

Each worker process builds one executor from its settings and keeps it, so that source models, target splits and what
frozen modules give for these are there once a worker. A run whose worker dies is repeated elsewhere; one that has taken
several workers with it is a failed record.
"""

import os
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from typing import Any, TypeVar

import cloudpickle
import torch
from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker
from distributed.comm.core import CommClosedError
from tornado.ioloop import PeriodicCallback

from surgicalft.sweep.attempt import Execute, attempt, failed, versions
from surgicalft.sweep.record import Record

R = TypeVar("R")  # the settings of a run, a frozen dataclass
LOCAL = "local"
GPU = "GPU"  # the resource that a worker with a graphics card declares
REPAIR = 2.0  # seconds between looks at a local cluster's workers
AHEAD = 2  # tasks in flight for each thread of a worker: one runs, one waits
_LOST = (CommClosedError, TimeoutError, OSError)
_LOCK = threading.Lock()


class ClusterError(RuntimeError):
    """A cluster can't be reached, has not what runs need, or was lost. What had finished is in the store."""


@contextmanager
def connect(cluster: str, workers: int | None = None, timeout: float = 30.0) -> Iterator[Client]:
    """A client of `cluster`: "local" starts one here, anything else is the address of a scheduler.

    workers: processes of a local cluster; None: one for each core, or for each graphics card that PyTorch sees.
    timeout (s): how long to try to reach a scheduler.
    Raises ValueError for a cluster that is neither, or `workers` below 1, ClusterError where nobody answers.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if cluster == LOCAL:
        with _local(workers) as local, Client(local) as client:
            yield client
        return
    if "://" not in cluster:
        raise ValueError(
            f"cluster must be {LOCAL!r}, 'auto' or a scheduler's address such as 'tcp://host:8786', not {cluster!r}"
        )
    try:
        client = Client(cluster, timeout=timeout)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"no scheduler answers at {cluster} within {timeout:g} s: {error}"
        ) from error
    with client:
        yield client


def on_cluster(
    runs: Sequence[R], execute: Execute[R], client: Client, threads: int
) -> Generator[Record, None, None]:
    """The records of `runs` as they finish; so few are in flight that a sweep of any size fits a scheduler.

    Raises ClusterError where workers have other versions or lack a graphics card that `execute.device` asks for, and
    where the scheduler is lost.
    """
    if not runs:
        return
    client.wait_for_workers(1)
    try:
        _check_versions(client)
        work = partial(_there, _pickled(execute), threads, versions())
        how = {"pure": False, "resources": _resources(client, execute)}
        yield from _stream(runs, work, client, how)
    except _LOST as error:
        raise ClusterError(f"the scheduler was lost: {error}; ask again to go on") from error


def _pickled(execute: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(execute))
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"execute must be picklable to travel to workers, {execute!r} is not: {error}"
        ) from error


def _stream(
    runs: Sequence[R], work: Any, client: Client, how: dict[str, Any]
) -> Generator[Record, None, None]:
    queue, asked = iter(runs), {}

    def submit(count: int) -> list[Any]:
        some = list(islice(queue, max(0, count)))
        # Pickled here: a scheduler need not know what workers do.
        futures = [client.submit(work, cloudpickle.dumps(run), **how) for run in some]
        asked.update({future.key: run for future, run in zip(futures, some, strict=True)})
        return futures

    pending, suspects = as_completed(submit(_room(client))), []
    for future in pending:
        run = asked.pop(future.key)
        try:
            yield _record(future)
        except KilledWorkers:
            suspects.append(run)
        future.release()
        pending.update(submit(_room(client) - len(asked)))  # workers may have come or gone
    for run in suspects:  # alone: a run may only have waited on workers that another one killed
        try:
            yield _record(client.submit(work, cloudpickle.dumps(run), **how))
        except KilledWorkers as error:
            yield failed(run, error)


def _room(client: Client) -> int:
    return AHEAD * max(1, sum(client.nthreads().values()))


def _record(future: Any) -> Record:
    """What the worker sent; KilledWorkers where the run, or one beside it, took its workers with it.

    It is the result that tells, and not the future's status: until it is here it may be lost with the worker that
    holds it, and then Dask computes it again.
    """
    try:
        record: Record = future.result()
    except KilledWorker as error:
        died = f"{error.allowed_failures + 1} workers died while they computed it"
        raise KilledWorkers(died) from error
    except CancelledError as error:
        raise ClusterError("the scheduler was lost or forgot a run; ask again to go on") from error
    except Exception as error:
        if future.status != "error":  # it came from the connection, not from the worker
            raise
        raise ClusterError(f"a worker could not start a run: {error}") from error
    return record


class KilledWorkers(RuntimeError):
    """A run took its workers with it, each time it was tried: memory, most likely."""


def _there(pickled: bytes, threads: int, wanted: dict[str, str], asked: bytes) -> Record:
    """On the worker: the record of the run that `asked` is, by the executor that `pickled` is."""
    if (own := _told_apart(versions())) != _told_apart(wanted):
        raise RuntimeError(f"the worker has {own}, who asked has {_told_apart(wanted)}")
    torch.set_num_threads(threads)
    _take_own_card()
    execute, run = _executor(pickled), cloudpickle.loads(asked)
    if prepare := getattr(execute, "prepare", None):
        with _LOCK:  # a worker of several threads loads what they share once
            try:
                prepare([run])
            except (Exception, SystemExit) as error:
                return failed(run, error)
    return attempt(run, execute)


def _take_own_card() -> None:
    """Workers of a local cluster are called 0, 1, ...: "cuda" means another card to each."""
    name = get_worker().name
    if torch.cuda.is_available() and isinstance(name, int):
        torch.cuda.set_device(name % torch.cuda.device_count())


@cache
def _executor(pickled: bytes) -> Any:
    return cloudpickle.loads(pickled)


def _told_apart(found: dict[str, str]) -> dict[str, str]:
    """What must agree: bits depend on PyTorch and this package, pickles on Python's minor version."""
    minor = ".".join(found["python"].split(".")[:2])
    return {"python": minor, "torch": found["torch"], "surgicalft": found["surgicalft"]}


def _check_versions(client: Client) -> None:
    mine = _told_apart(versions())
    try:
        client.get_versions(check=True)
        theirs = client.run(versions)
    except (ValueError, ImportError) as error:
        raise ClusterError(f"the cluster does not fit this installation: {error}") from error
    for worker, found in theirs.items():
        if _told_apart(found) != mine:
            raise ClusterError(f"worker {worker} has {_told_apart(found)}, here are {mine}")


def _resources(client: Client, execute: object) -> dict[str, int] | None:
    """What a run needs of its worker; ClusterError where nobody has it, since it would wait for ever."""
    if not str(getattr(execute, "device", "cpu")).startswith("cuda"):
        return None
    workers = client.scheduler_info()["workers"]
    if not any(worker["resources"].get(GPU) for worker in workers.values()):
        raise ClusterError(
            f"device 'cuda' needs a worker with the resource {GPU}, and none of {len(workers)} declares it: "
            f"start workers with `dask worker ... --resources {GPU}=1`"
        )
    return {GPU: 1}


@contextmanager
def _local(workers: int | None) -> Iterator[LocalCluster]:
    """Processes of one thread each: on this machine's cores, or one for each of its graphics cards."""
    cards = torch.cuda.device_count()
    how: dict[str, Any] = {"resources": {GPU: 1}} if cards else {}
    count = workers or cards or os.cpu_count() or 1
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", **how
        ) as local,
        _kept_whole(local, count),
    ):
        yield local


@contextmanager
def _kept_whole(local: LocalCluster, count: int) -> Iterator[None]:
    """Dask drops a worker that is not back 15 s after a death, or dies again as it starts: ask for it anew.

    Without this the last worker of a cluster can be gone for good, and a sweep waits for ever.
    """
    again, loop = PeriodicCallback(lambda: local.scale(count), REPAIR * 1000), local.loop
    assert loop is not None  # a cluster that has started has one
    loop.add_callback(again.start)
    try:
        yield
    finally:
        loop.add_callback(again.stop)
