"""How good the networks are that runs start from: source models, and the published checkpoint."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from surgicalft.evaluate import accuracy
from surgicalft.models.pretrain import pretrained
from surgicalft.models.recipe import Pretrain
from surgicalft.models.zoo import load_published
from surgicalft.report.paper import TABLES, published
from surgicalft.runs import Run
from surgicalft.shifts import Labelled, get_scenario, load_source


def source_table(runs: Sequence[Run], data_dir: Path | None, device: str = "cpu") -> pd.DataFrame:
    """One row per source model of the runs: accuracy (%) on its source's test images, and its recipe."""
    starts = {(run.model, run.pretrain): run for run in runs}
    return pd.DataFrame([_row(run, data_dir, device) for run in starts.values()])


def _row(run: Run, data_dir: Path | None, device: str) -> dict[str, Any]:
    if run.pretrain is None:
        row = {"model": run.model, "recipe": "published"}
        try:
            test = load_source(get_scenario(run.scenario).source, data_dir).test
        except FileNotFoundError:  # a published target needs no source
            return {**row, "accuracy": math.nan, "n": 0, "data": "the source's images are not here"}
        value = accuracy(load_published(run.model, data_dir).to(device), test, device)
        return {**row, **_share(value, len(test))}
    info = pretrained(run.pretrain, data_dir, device).info
    return {
        "model": run.model,
        "recipe": recipe(run.pretrain),
        **_share(info["test_accuracy"], info["n_test"]),
        "n_train": info["n_train"],
        "data": info["provenance"],
    }


def recipe(pretrain: Pretrain) -> str:
    """The settings in a line."""
    phases = [
        f"{phase.epochs} epochs of {'the head' if phase.selection == 'last' else 'all'} "
        f"at {phase.learning_rate:g}"
        for phase in pretrain.phases()
    ]
    return (
        f"{pretrain.source}: {pretrain.weights} weights, {pretrain.optimizer}, {pretrain.schedule}, "
        f"{', then '.join(phases)}, batch {pretrain.batch_size}, weight decay {pretrain.weight_decay:g}, "
        f"augment {pretrain.augment}, {pretrain.precision}, seed {pretrain.seed}"
    )


def _share(value: float, n: int) -> dict[str, Any]:
    """An accuracy in percent with its binomial standard error."""
    return {"accuracy": value, "error": math.sqrt(value * (100 - value) / n), "n": n}


def checkpoint_table(data_dir: Path | None, severity: int = 5) -> pd.DataFrame:
    """The published ResNet-26 without adaptation on our corruptions of exact CIFAR-10 test images.

    Beside it Table 9's row "No Adaptation" (the published CIFAR-10-C, 10,000 images); `z` is the difference
    in standard errors of our smaller sample. Frost is drawn here, photographed there.
    """
    network = load_published("memo-resnet26-gn", data_dir)
    rows = [
        {"images": "clean", **_measured(network, load_source("cifar10-lossless", data_dir).test)}
    ]
    for name in TABLES[9].columns:
        scenario = get_scenario(f"cifar10-lossless-c/{name}/{severity}")
        row = _measured(network, scenario.load(data_dir).pool)
        paper = published(9, "No Adaptation", name)
        assert paper is not None
        difference = (row["accuracy"] - paper.value) / row["error"]
        rows.append({"images": name, **row, "paper": paper.value, "z": difference})
    return pd.DataFrame(rows)


def _measured(network: Any, data: Labelled) -> dict[str, Any]:
    return _share(accuracy(network, data), len(data))
