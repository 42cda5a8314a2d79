"""Runs what the store lacks: in one process, one run at a time or in threads, or on a Dask cluster.

On a CPU every run computes with one thread of PyTorch, however many runs go on beside it: its bits
then depend neither on the number of cores nor on its neighbours (the thread count decides in which
order partial sums are added), and small networks gain little from more. PyTorch releases Python's
lock while it computes, so runs in threads do proceed together. They share the global random
generator: `execute` must draw from generators of its own.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from tqdm import tqdm

from surgicalft.settings import identity
from surgicalft.sweep.attempt import Execute, attempt
from surgicalft.sweep.bar import Bar
from surgicalft.sweep.store import Record, Store

R = TypeVar("R")  # the settings of a run, a frozen dataclass


def run_all(
    runs: Sequence[R],
    store: Store,
    execute: Execute[R],
    jobs: int = 1,
    progress: bool = True,
    retry_failed: bool = False,
    prepare: Callable[[Sequence[R]], None] | None = None,
    threads_per_run: int = 1,
    cluster: str = "",
    workers: int | None = None,
) -> list[Record]:
    """The records of `runs`, in their order: from the store, or computed and stored as they end.

    runs: frozen dataclasses; equal ones are computed once.
    execute: settings -> the fields of the record that it knows (history, epoch, valid_accuracy,
        valid_loss, test_accuracy, n_test, provenance, device). An exception makes a failed record,
        with the exception's `history` if it has one, and the sweep goes on.
    jobs: runs at a time, >= 1. Results are bit for bit the same for any number.
    progress: show a bar on standard error, and once the address of Dask's dashboard if a cluster computes.
    retry_failed: compute again what is in the store as failed.
    prepare: called once, in this thread and with all of PyTorch's threads, with the runs that have to be
        computed, if there are any; what it raises ends the sweep there: a mistake in asking shows at once,
        not as a thousand failed records.
    threads_per_run: PyTorch's threads within a run on the CPU; another number may change last bits.
    cluster: "" is this process; "local" starts processes here, `workers` of them (default: one for each core or
        graphics card); "auto" is the faster of these two, as `surgicalft.sweep.measure` finds; an address such as
        "tcp://host:8786" is any Dask scheduler. Except in this process, `execute` must be picklable.

    Raises ValueError if jobs < 1, StoreError if a record can't be stored, and ClusterError if a cluster can't be
    reached, doesn't fit or is lost. That and an interruption (Ctrl-C) stop all runs; those that had finished are
    kept, and the same call goes on from there.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    ids = [identity(run) for run in runs]
    records = store.among(ids)
    if retry_failed:
        records = {id: record for id, record in records.items() if record.status != "failed"}
    missing = [run for id, run in dict(zip(ids, runs, strict=True)).items() if id not in records]
    if prepare and missing:
        prepare(missing)
    if cluster == "auto":
        cluster = _measured(progress) if missing else ""
    with ExitStack() as stack:
        stack.enter_context(_torch_threads(threads_per_run))
        if cluster and missing:
            from surgicalft.sweep.cluster import connect, on_cluster  # Dask is slow to import

            client = stack.enter_context(connect(cluster, workers))
            if progress:
                tqdm.write(f"dashboard: {client.dashboard_link}", file=sys.stderr)
            found = on_cluster(missing, execute, client, threads_per_run)
        else:
            found = _records(missing, execute, jobs, threads_per_run)
        bar = stack.enter_context(closing(Bar(records, len(missing), progress)))
        for record in stack.enter_context(closing(found)):
            record = store.put(record)  # or what another coordinator has finished meanwhile
            records[record.id] = record
            bar.advance(record)
    return [records[id] for id in ids]


def _measured(progress: bool) -> str:
    from surgicalft.sweep.measure import fastest  # needs networks, which need no engine

    return fastest(progress)


def _records(
    runs: Sequence[R], execute: Execute[R], jobs: int, threads: int
) -> Generator[Record, None, None]:
    """The records of `runs` as they finish."""
    work = partial(attempt, execute=execute)
    if jobs == 1:
        yield from map(work, runs)
    else:
        yield from _in_threads(runs, work, jobs, threads)


def _in_threads(
    runs: Sequence[R], work: Callable[[R], Record], jobs: int, threads: int
) -> Generator[Record, None, None]:
    # PyTorch keeps the number of its threads for each thread that calls it.
    pool = ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(threads,))
    queue, busy = iter(runs), set[int]()

    def noted(run: R) -> Record:
        busy.add(threading.get_ident())
        try:
            return work(run)
        finally:
            busy.discard(threading.get_ident())

    with pool:
        try:
            pending = {pool.submit(noted, run) for run in islice(queue, 2 * jobs)}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()  # stored before another run starts: little can be lost
                    pending |= {pool.submit(noted, run) for run in islice(queue, 1)}
        except BaseException:  # Ctrl-C, a store that can't be written, or the generator was closed
            pool.shutdown(wait=False, cancel_futures=True)
            _interrupt(busy)
            raise


def _interrupt(threads: set[int]) -> None:
    """Raise KeyboardInterrupt in these threads; they notice when their present operation ends."""
    for ident in tuple(threads):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt)
        )


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
