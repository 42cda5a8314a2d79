"""Runs many notebooks, each in a process of its own, as many at a time as the machine allows.

What is finished (see `surgicalft.notebooks.finished`) is kept; one that fails leaves the others alone. Processes end
with the one that started them, and the same call goes on from there.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
from tqdm import tqdm

from surgicalft.notebooks.finished import is_finished, key_of, read_stamp
from surgicalft.notebooks.plan import Task

MEMORY_EACH = 3e9  # bytes
POLL = 0.1  # seconds
# Libraries import a tqdm that misses widgets; our bars are text.
UNASKED = "ignore:IProgress not found"


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: `status` is "ran", "kept" or "failed"; `about` says how long, since when, or why."""

    name: str
    status: str
    about: str
    copy: Path
    made: tuple[str, ...] = ()


@dataclass
class _Running:
    name: str
    copy: Path
    process: subprocess.Popen[str]
    log: str
    start: float = field(default_factory=time.monotonic)


def default_jobs() -> int:
    """Notebooks at a time: one for every core and 3 GB of free memory, at least one.

    Measured on 2 cores, all on embedded data from an empty cache: two at a time took 0.82 of the time of one by one.
    """
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory().available
    return max(1, min(cores, int(memory // MEMORY_EACH)))


def reproduce(
    tasks: Sequence[Task], output: Path, figures: Path, jobs: int = 1, again: bool = False
) -> Iterator[Outcome]:
    """Executes notebooks into `output` (NN_topic.ipynb) and says what became of each, as they end.

    figures: the folder below which the notebook NN_topic writes to NN_topic/.
    jobs: notebooks at a time, >= 1. With one, its own bars are shown; with more, what notebooks write to standard error
        goes to NN_topic.log beside the copy, and PyTorch's threads are shared out.
    again: run also what is finished.

    Raises ValueError if jobs < 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    output.mkdir(parents=True, exist_ok=True)
    left: list[Task] = []
    for task in tasks:
        copy = output / f"{task.name}.ipynb"
        if again or not is_finished(copy, key_of(task), figures):
            left.append(task)
        else:
            yield Outcome(task.name, "kept", f"finished {_date(copy)}", copy, _made(copy))
    jobs = min(jobs, max(1, len(left)))
    with ExitStack() as stack, tqdm(total=len(left), unit="notebook", disable=jobs == 1) as bar:
        running: list[_Running] = []
        while left or running:
            while left and len(running) < jobs:
                running.append(_started(left.pop(0), output, figures, jobs, stack))
                bar.set_postfix_str(", ".join(one.name for one in running))
            time.sleep(POLL)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                bar.update()
                yield _ended(one)


def _started(task: Task, output: Path, figures: Path, jobs: int, stack: ExitStack) -> _Running:
    """The pipe to its standard input is what the process lives by: it closes with `stack`, or with this process."""
    copy, log = output / f"{task.name}.ipynb", None
    if jobs > 1:
        log = stack.enter_context((output / f"{task.name}.log").open("w", encoding="utf-8"))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    process = subprocess.Popen(
        [sys.executable, "-m", "surgicalft.notebooks.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": UNASKED, **os.environ},
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which then closes the pipe
    )
    stack.enter_context(process)  # closes the pipes and waits
    assert process.stdin is not None
    paths = {"source": task.source, "output": copy, "figures": figures}
    asked = {"values": task.values, **{name: str(path) for name, path in paths.items()}}
    print(json.dumps(asked), file=process.stdin, flush=True)
    return _Running(task.name, copy, process, log.name if log else "")


def _ended(one: _Running) -> Outcome:
    seconds = f"{time.monotonic() - one.start:.0f} s"
    if one.process.returncode == 0:
        return Outcome(one.name, "ran", seconds, one.copy, _made(one.copy))
    assert one.process.stdout is not None
    why = one.process.stdout.read().strip()
    why = why or f"its process ended with {one.process.returncode}, for want of memory perhaps"
    log = f"\n(what it wrote: {one.log})" if one.log else ""
    return Outcome(one.name, "failed", f"after {seconds}: {why}{log}", one.copy)


def _made(copy: Path) -> tuple[str, ...]:
    return tuple((read_stamp(copy) or {}).get("made", ()))


def _date(copy: Path) -> str:
    return datetime.fromtimestamp(copy.stat().st_mtime).isoformat(" ", "minutes")
