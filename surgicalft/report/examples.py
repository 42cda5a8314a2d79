"""Source and target side by side, a row per scenario, as in the paper's Figure 1; and how far apart they are."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from surgicalft.report.style import GREY, evidence, style
from surgicalft.shifts import Labelled, get_scenario, load_source
from surgicalft.shifts.image_files import as_tensor
from surgicalft.shifts.told_apart import told_apart

TITLE = "Source and target, by kind of shift"
SIDE = 0.78  # inches of an image


def shift_examples(
    scenarios: Sequence[str], data_dir: Path | None = None, count: int = 5, profile: str = ""
) -> Figure:
    """`count` source and as many target images of each scenario, of the same classes, each with its label."""
    figure = Figure(figsize=(SIDE * (2 * count + 3), 1.12 * SIDE * len(scenarios) + 0.9))
    with style():
        grid = figure.subplots(
            len(scenarios),
            2 * count + 1,
            squeeze=False,
            gridspec_kw={"left": 0.19, "right": 0.99, "bottom": 0.02, "wspace": 0.06},
        )
        height = figure.get_figheight()
        figure.subplots_adjust(top=1 - 0.95 / height)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, name in zip(grid, scenarios, strict=True):
            _row(row, name, data_dir, count)
        about = f"{evidence(list(scenarios))}{f' · profile {profile}' if profile else ''}"
        figure.text(0.012, 0.985, TITLE, va="top", fontsize=12, fontweight="bold")
        figure.text(0.012, 1 - 0.34 / height, about, va="top", color=GREY)
        for first, name in ((0, "source"), (count + 1, "target")):
            left = grid[0, first].get_position().x0
            figure.text(left, 1 - 0.62 / height, name, va="top", fontweight="bold")
    return figure


def _row(row: Sequence[Axes], name: str, data_dir: Path | None, count: int) -> None:
    scenario = get_scenario(name)
    source = load_source(scenario.source, data_dir)
    target = scenario.load(data_dir)
    labels = _spread(source.classes, count)
    for axes, data, label in _cells(row, source.test, target.pool, labels):
        image = _first(data, label)
        if image is not None:
            axes.imshow(image)
        axes.set_title(f"y = {label}", fontsize=6.5, pad=1.5, color=GREY)
    middle = row[0].get_position()
    height = (middle.y0 + middle.y1) / 2
    write = partial(row[0].text, 0.012, height, va="center", transform=row[0].figure.transFigure)
    write(f"{scenario.kind}\n", fontweight="bold")
    write(f"\n{name.replace('/', ' / ')}", fontsize=7, color=GREY)


def _cells(
    row: Sequence[Axes], source: Labelled, target: Labelled, labels: list[int]
) -> list[tuple[Axes, Labelled, int]]:
    """Source images on the left, a gap, target images on the right."""
    left = zip(row, [source] * len(labels), labels, strict=False)
    right = zip(row[len(labels) + 1 :], [target] * len(labels), labels, strict=True)
    return [*left, *right]


def _spread(classes: int, count: int) -> list[int]:
    """`count` classes from the first to the last, repeated where there are fewer."""
    if classes < count:
        return [i % classes for i in range(count)]
    return np.linspace(0, classes - 1, count).round().astype(int).tolist()


def _first(data: Labelled, label: int) -> np.ndarray | None:
    """The first image of that class (h, w, 3), or None where there is none."""
    index = (data.labels == label).nonzero().flatten()[:1]
    if not len(index):
        return None
    return as_tensor(data.take(index).images)[0].permute(1, 2, 0).contiguous().numpy()


def shift_table(scenarios: Sequence[str], data_dir: Path | None = None) -> pd.DataFrame:
    """One row per scenario: kind, numbers of images and classes, and how well inputs are told apart (%)."""
    return pd.DataFrame([_facts(name, data_dir) for name in scenarios])


def _facts(name: str, data_dir: Path | None) -> dict[str, object]:
    scenario = get_scenario(name)
    source, target = load_source(scenario.source, data_dir), scenario.load(data_dir)
    apart = told_apart(source.test, target.pool)
    groups = target.pool.groups
    return {
        "scenario": name,
        "kind": scenario.kind,
        "source": scenario.source,
        "classes": target.classes,
        "groups": 0 if groups is None else len(torch.unique(groups)),
        "source images": len(source.train),
        "target images": len(target.pool) + len(target.test or ()),
        "told apart": apart.accuracy,
        "error": apart.error,
        "n": apart.n,
        "provenance": target.provenance,
    }
