"""Threads or processes? Small fine-tuning runs are timed both ways on this machine, and the answer is kept.

Runs in threads share what is loaded and start at once, but Python's lock lets only one of them prepare kernels at a
time; processes have no common lock and load everything themselves. Which is ahead depends on cores, versions and load.
"""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.models.networks import build
from surgicalft.paths import cache_dir
from surgicalft.shifts.base import Labelled, Splits
from surgicalft.sweep.attempt import Execute, versions

ROUNDS, RUNS_PER_CORE = 3, 2
EPOCHS = 15  # of a run: about a second, as the embedded runs take
AHEAD = (
    1.1  # processes cost memory and seconds to start: they must be this much faster in the median
)


@dataclass(frozen=True)
class Trial:
    """A run that is timed: a ResNet-8 tuned on 128 images of noise; `take` tells rounds apart."""

    seed: int
    take: int = 0


@dataclass(frozen=True)
class Measured:
    """Seconds of threads / seconds of processes for the same runs, round by round."""

    ratios: tuple[float, ...]
    cores: int

    @property
    def cluster(self) -> str:
        """What `run_all` takes: "local" where processes are clearly ahead, else "", threads."""
        return "local" if median(self.ratios) > AHEAD and min(self.ratios) > 1 else ""

    @property
    def sentence(self) -> str:
        """What was measured and what follows."""
        chosen = "processes" if self.cluster else "threads"
        low, high = min(self.ratios), max(self.ratios)
        return (
            f"{self.cores} cores: processes are {median(self.ratios):.2f} ({low:.2f} to {high:.2f}) times as fast as "
            f"threads at small runs, so {chosen}"
        )


def work(trial: Trial) -> dict[str, Any]:
    """Tune all of a small network."""
    draw = torch.Generator().manual_seed(trial.seed)
    images = torch.randint(0, 256, (128, 3, 32, 32), generator=draw, dtype=torch.uint8)
    data = Labelled(images, torch.arange(128) % 10)
    model = build("resnet8-bn-w8", 10, seed=0)
    tuned = fine_tune(
        model, Blocks.of(model).select("all"), Splits(data, data, data), FineTune(1e-3, EPOCHS)
    )
    return {"history": tuned.history}


def fastest(progress: bool = True) -> str:
    """ "" (threads) or "local" (processes), as measured on this machine, once for each version of PyTorch and this."""
    cores = os.cpu_count() or 1
    known = {"machine": platform.node(), "cores": str(cores), **versions()}
    known.pop("commit", None)  # or it would be measured anew at each commit
    file = cache_dir("measured") / "threads-or-processes.json"
    found = _read(file, known)
    if found is None:
        found = measure(cores)
        file.write_text(json.dumps({"of": known, **asdict(found)}))
        if progress:
            print(found.sentence)
    return found.cluster


def measure(cores: int, execute: Execute[Trial] = work) -> Measured:
    """Both ways in turns, `ROUNDS` times, after a first one that is not counted.

    Raises RuntimeError if one of the timed runs fails: it may take no time, and says nothing of the others.
    """
    from surgicalft.sweep.cluster import connect

    with TemporaryDirectory() as folder, connect("local", cores) as client:
        address, pairs = client.scheduler.address, []
        for take in range(ROUNDS + 1):
            both = [
                _seconds(Path(folder), take, cores, cluster, execute) for cluster in ("", address)
            ]
            pairs.append(both)
    return Measured(tuple(threads / processes for threads, processes in pairs[1:]), cores)


def _seconds(folder: Path, take: int, cores: int, cluster: str, execute: Execute[Trial]) -> float:
    from surgicalft.sweep.engine import run_all
    from surgicalft.sweep.store import Store

    where = "processes" if cluster else "threads"
    trials = [Trial(seed, take) for seed in range(RUNS_PER_CORE * cores)]
    start = time.perf_counter()
    with Store(folder / f"{take}-{where}.sqlite") as store:
        records = run_all(trials, store, execute, cores, progress=False, cluster=cluster)
    seconds = time.perf_counter() - start
    if failed := [record.error for record in records if record.status == "failed"]:
        raise RuntimeError(
            f"threads or processes? {len(failed)} of the {len(trials)} runs timed in {where} failed, so nothing is "
            f"measured; state cluster='local' or ''. The first: {failed[0]}"
        )
    return seconds


def _read(file: Path, known: dict[str, str]) -> Measured | None:
    try:
        kept = json.loads(file.read_text())
        return Measured(tuple(kept["ratios"]), kept["cores"]) if kept["of"] == known else None
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours
        return None
