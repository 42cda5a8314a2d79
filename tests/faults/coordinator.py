"""A sweep that tests start and kill: `python coordinator.py STORE RUNS SECONDS [CLUSTER]`."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store


@dataclass(frozen=True)
class Step:
    """A run that takes `seconds`; `fault` says how it goes wrong, `folder` where it notes that it has."""

    seed: int
    seconds: float = 0.0
    fault: str = ""
    folder: str = ""


def execute(run):
    FAULTS[run.fault](run)
    time.sleep(run.seconds)
    value = float(np.random.default_rng(run.seed).normal())
    return {"valid_loss": value, "history": [{"loss": value}], "epoch": run.seed}


def _die(run):
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(run):
    noted = Path(run.folder) / f"died-{run.seed}"
    if not noted.exists():
        noted.touch()
        _die(run)


def _diverge(run):
    raise FloatingPointError(f"the loss of run {run.seed} is NaN")


def _fill_memory(run):
    np.ones(2**60, dtype=np.uint8)  # more than any machine can address


FAULTS = {
    "": lambda run: None,
    "diverges": _diverge,
    "fills memory": _fill_memory,
    "kills its worker": _die,
    "kills its worker once": _die_once,
}


def steps(count, seconds=0.0):
    """A sweep with a failing run among the others."""
    return [Step(seed, seconds, "diverges" if seed == 3 else "") for seed in range(count)]


def main(path, count, seconds, cluster=""):
    with Store(path) as store:
        run_all(steps(int(count), float(seconds)), store, execute, 2, False, cluster=cluster)


if __name__ == "__main__":
    main(*sys.argv[1:])
