"""The two sides of a comparison, each in a process of its own, so that neither changes how the other computes."""

import copy
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from plain import plain_fine_tune
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.memory import Memory
from surgicalft.models.networks import build
from surgicalft.precision import PRECISIONS
from surgicalft.shifts import Splits, get_scenario, split_target
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store

MODEL = "resnet26-bn"
EPOCHS = 15
PLAIN_EPOCHS = (
    3  # an epoch of the plain loop costs what any other does: three are timed, for fifteen
)


@cache
def splits() -> Splits:
    """1,000 / 100 / 900 images, the protocol's numbers; their content does not matter for the time."""
    pool = get_scenario("glyphs-c/contrast").load(None).pool
    return split_target(pool, 1000, 100, seed=0, test="authors")


def network() -> nn.Module:
    return build(MODEL, 10, seed=0)


def plain_run(selection: str, rate: float) -> dict[str, Any]:
    model, data = network(), splits()
    start = time.perf_counter()
    results = plain_fine_tune(model, selection, data, FineTune(rate, PLAIN_EPOCHS))
    seconds = (time.perf_counter() - start) * EPOCHS / PLAIN_EPOCHS
    return {"seconds": seconds, "valid": [valid for valid, _ in results]}


def our_run(selection: str, rate: float) -> dict[str, Any]:
    model, data = network(), splits()
    start = time.perf_counter()
    chosen = Blocks.of(model).select(selection)
    tuned = fine_tune(model, chosen, data, FineTune(rate, EPOCHS))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "valid": _first(tuned.history)}


def _first(history: list[dict[str, float]]) -> list[float]:
    return [epoch["valid_accuracy"] for epoch in history[:PLAIN_EPOCHS]]


def our_sweep(
    cells: list[tuple[str, float]], jobs: int, precision: str = "float32"
) -> dict[str, Any]:
    """All cells through the engine, as a notebook would run them."""
    from sweep_cell import Cell

    start = time.perf_counter()
    source = network()
    memory = Memory()

    def execute(cell: Cell) -> dict[str, Any]:
        model = copy.deepcopy(
            source
        )  # building one draws from the global generator, which threads share
        chosen = Blocks.of(model).select(cell.selection)
        settings = FineTune(cell.learning_rate, EPOCHS, precision=precision)
        tuned = fine_tune(model, chosen, splits(), settings, memory=memory)
        return {"history": tuned.history, "test_accuracy": tuned.test_accuracy}

    with TemporaryDirectory() as folder, Store(Path(folder) / "runs.sqlite") as store:
        runs = [Cell(selection, rate) for selection, rate in cells]
        records = run_all(runs, store, execute, jobs, progress=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "valid": [_first(record.history) for record in records]}


def warm_up() -> int:
    """Imports, data and the first calls of every kernel, which no measurement should contain."""
    model, data = network(), splits()
    small = Splits(data.tune.take(torch.arange(64)), data.valid, data.valid)
    for precision in PRECISIONS:
        how = FineTune(1e-3, epochs=1, precision=precision)
        fine_tune(model, Blocks.of(model).select("all"), small, how)
    return torch.get_num_threads()


def warm_up_plain() -> int:
    model, data = network(), splits()
    small = Splits(data.tune.take(torch.arange(64)), data.valid, data.valid)
    plain_fine_tune(model, "all", small, FineTune(1e-3, epochs=1))
    return torch.get_num_threads()


def side() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def median_ratio(pairs: list[tuple[float, float]]) -> float:
    """Median over rounds of plain seconds / our seconds."""
    return median(plain / ours for plain, ours in pairs)
