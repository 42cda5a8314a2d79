"""Images per second of every architecture, forward and while tuning each block, and what that costs.

`python -m surgicalft.report.throughput` writes the table for this machine to figures/throughput/. Of each number the
median over repeats is given; ratios to tuning all are taken within one run of the program. A step is measured in two
ways: with the whole network computed, and with frozen modules that answer from memory (`surgicalft.reuse`).
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.allocator import keep_freed_memory
from surgicalft.blocks import Blocks
from surgicalft.cost import Costs
from surgicalft.freezing import freeze, trainable
from surgicalft.models.networks import build
from surgicalft.optimizers import make_optimizer
from surgicalft.paths import project_dir
from surgicalft.report.tables import read_table, write_table
from surgicalft.reuse import Answering
from surgicalft.sweep.attempt import versions
from surgicalft.trial import find_plan


@dataclass(frozen=True)
class Case:
    """An architecture, the side of its images, how many are worked on at once, and how often it is timed."""

    model: str
    size: int
    batch: int
    repeats: int = 3
    classes: int = 10


CASES = (  # as much of each as a CPU does in minutes
    Case("resnet26-bn", 32, 64, 7),
    Case("clip-vit-tiny", 32, 64, 7),
    Case("resnet50", 224, 16),
    Case("rvt-small", 224, 16),
    Case("clip-vit-b-16", 224, 8),
    Case("clip-vit-l-14", 224, 2, 1),
)


def throughput(case: Case, device: str = "cpu", batch: int = 0) -> pd.DataFrame:
    """One row for the forward pass and one per block and for all: images/s, its ratio to tuning all, parameters.

    `images/s` is a whole step (forward, backward, Adam) with everything else frozen; `behind the cut` the same
    where what is frozen in front of the first tuned tensor answers from memory.
    """
    keep_freed_memory()
    repeats = case.repeats
    network = build(case.model, case.classes, seed=0).to(device)
    network = network.to(memory_format=torch.channels_last)
    shape = (batch or case.batch, 3, case.size, case.size)
    images = torch.rand(shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(len(images), device=device) % case.classes
    rows = [_forward(network, images, repeats)]
    for name in (*Blocks.of(network), "all"):
        rows.append(_tuned(network, name, images, labels, repeats))
    every = rows[-1]["images/s"]
    common = {"model": case.model, "pixels": case.size, "batch": len(images), "repeats": repeats}
    return pd.DataFrame([common | row | {"x all": row["images/s"] / every} for row in rows])


def _forward(network: nn.Module, images: Tensor, repeats: int) -> dict[str, Any]:
    network.eval()

    @torch.inference_mode()
    def step() -> None:
        network(images)

    return {
        "tuned": "forward only",
        "images/s": _rate(step, images, repeats),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def gigaflops(model: str, size: int) -> float:
    """Floating-point operations of one image's forward pass, 1e9; a multiplication and an addition are two."""
    network = build(model, 10, seed=0).eval()
    costs = Costs.of(network, torch.rand(1, 3, size, size))
    return sum(layer.flops for layer in costs.layers) / 1e9


def _tuned(
    network: nn.Module,
    name: str,
    images: Tensor,
    labels: Tensor,
    repeats: int,
) -> dict[str, Any]:
    selection = Blocks.of(network).select(name)
    freeze(network, selection)
    network.train()
    optimizer = make_optimizer("adam", trainable(network), 1e-6, 0.0)
    answering = Answering(network, find_plan(network, selection.parameters, images[:4]))
    kept = answering.remember(images)
    network.train()

    def step(run: Callable[..., Tensor], *inputs: Any) -> None:
        F.cross_entropy(run(*inputs), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return {
        "tuned": name,
        "images/s": _rate(lambda: step(network, images), images, repeats),
        "behind the cut": _rate(lambda: step(answering, images, kept), images, repeats),
        "parameters": sum(p.numel() for p in trainable(network)),
    }


def _rate(step: Callable[[], None], images: Tensor, repeats: int) -> float:
    """Images per second: the median of `repeats` steps after one that is not counted."""
    step()
    times = []
    for _ in range(repeats):
        _wait(images)
        start = time.perf_counter()
        step()
        _wait(images)
        times.append(time.perf_counter() - start)
    return len(images) / statistics.median(times)


def _wait(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize()


def machine(device: str) -> dict[str, Any]:
    """What was measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {
        "device": device,
        "processor": name,
        "threads": torch.get_num_threads(),
        "precision": "float32",
        "versions": versions(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all architectures, or those named, and write table and settings; other rows there are kept."""
    parser = argparse.ArgumentParser(
        prog="python -m surgicalft.report.throughput", description=__doc__
    )
    parser.add_argument("models", nargs="*", help=", ".join(case.model for case in CASES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=0, help="instead of that of a CPU")
    options = parser.parse_args(argv)
    legal = [case.model for case in CASES]
    if unknown := sorted(set(options.models) - set(legal)):
        parser.error(f"unknown models {unknown}; legal: {legal}")
    stem = project_dir("figures", "throughput") / options.device
    for case in CASES:
        if not options.models or case.model in options.models:
            table = throughput(case, options.device, options.batch)
            print(table.round(2).to_string(index=False), flush=True)
            _write(table, stem, machine(options.device) | {"optimiser": "adam"})


def _write(table: pd.DataFrame, stem: Path, about: dict[str, Any]) -> None:
    """Replace these rows in the file, and leave the others, in the order of `CASES`."""
    order = [case.model for case in CASES]
    if Path(f"{stem}.csv").is_file():
        old = read_table(stem)
        table = pd.concat([old[~old["model"].isin(table["model"])], table], ignore_index=True)
    table = table.sort_values("model", key=lambda names: names.map(order.index), kind="stable")
    write_table(table, stem, about)


if __name__ == "__main__":
    main()
