"""Figures 5 and 6: what repairs which damage, and the weights of Auto-RGN by tensor."""

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from surgicalft.report.planted import CODE, UNDAMAGED
from surgicalft.report.style import DARK, GREY, caption, evidence, look, style

_PANEL = (2.45, 2.3)  # inches
_SMALL = 7.5


def which_repairs(table: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Figure 5: accuracy by what was tuned, a column per damaged block (its option on a grey band), a row per model.

    `table`: of `surgicalft.report.planted.repair_table`. Error bars: standard error over seeds, of one seed the
    binomial one. Dotted: no tuning. Grey line above: the network without damage, untuned.
    """
    with style():
        models, columns = _distinct(table["model"]), _distinct(table["damaged"], UNDAMAGED)
        drawn = table[table["damaged"] != UNDAMAGED]
        text = caption(drawn, profile, note)
        title = "Which block repairs which damage?"
        figure, grid = _canvas(title, models, columns, text, list(table["scenario"]))
        for line, model in zip(grid, models, strict=True):
            own = table[table["model"] == model]
            whole = own[(own["damaged"] == UNDAMAGED) & (own["selection"] == "none")]
            for axes, damaged in zip(line, columns, strict=True):
                _options(axes, own[own["damaged"] == damaged], damaged, whole["mean"])
            limits = [axes.get_ylim() for axes in line]
            for axes in line:
                axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
                axes.set_yticks([y for y in axes.get_yticks() if 0 <= y <= 100])
            line[0].set_ylabel(f"{model}\ntarget accuracy (%)")
    return figure


def _options(axes: Axes, rows: pd.DataFrame, damaged: str, undamaged: pd.Series) -> None:
    tuned = rows[rows["selection"] != "none"].reset_index(drop=True)
    errors = tuned["standard_error"].fillna(tuned["binomial_error"])
    for x, (row, error) in enumerate(zip(tuned.to_dict("records"), errors, strict=True)):
        colour, marker = look(row["selection"])
        axes.errorbar(x, row["mean"], error, color=colour, marker=marker, ms=5)
        end = (x, row["mean"] - error)
        _write(axes, f"{row['mean']:.1f}", end, "data", below=True, color=DARK)
        if row["selection"] == damaged:
            axes.axvspan(x - 0.45, x + 0.45, color=GREY, alpha=0.15, lw=0, zorder=0)
    for level, name, ls in (
        (rows.loc[rows["selection"] == "none", "mean"].mean(), "no tuning", ":"),
        (undamaged.mean(), "undamaged", "-"),
    ):
        if pd.notna(level):
            axes.axhline(level, color=GREY, lw=0.9, ls=ls, zorder=1)
            place = ("axes fraction", "data")
            _write(axes, f"{name} {level:.1f}", (1, level), place, ha="right", color=GREY)
    axes.set_xticks(range(len(tuned)), tuned["selection"], rotation=40, ha="right")
    axes.set_xlim(-0.6, len(tuned) - 0.4)
    axes.margins(y=0.2)


def _write(
    axes: Axes, text: str, at: tuple[float, float], place: Any, below: bool = False, **more: Any
) -> None:
    """Above a line, or below a point."""
    offset, va = ((0, -5), "top") if below else ((0, 2), "bottom")
    words: dict[str, Any] = {"ha": "center", "va": va, "fontsize": _SMALL}
    axes.annotate(text, at, offset, xycoords=place, textcoords="offset points", **words | more)


def accumulated_weights(weights: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Figure 6: each tensor's weight under Auto-RGN, added up over the epochs, coloured by block; mean over seeds.

    `weights`: of `surgicalft.report.planted_weights.tensor_weights`. A column per damaged block and one for the network
    without damage, a row per model and variant; lines at each block's mean, thick at the damaged one's.
    """
    weights = weights.assign(row=weights["model"] + "\n" + weights["option"])
    seeds, code = weights["seed"].nunique(), (weights["option"] == CODE).any()
    parts = (
        f"profile {profile}" if profile else "",
        f"a bar per tensor, in the network's order: its share of Auto-RGN's learning rate, summed over the epochs, "
        f"mean over {seeds} seed{'s' * (seeds != 1)}",
        "auto-rgn code: the authors' code, in which normalisations do not learn" * bool(code),
        "learning rate by target_valid",
        "lines: mean per tensor of each block, black where the damage is",
        note,
    )
    text = " · ".join(part for part in parts if part)
    with style():
        models, columns = _distinct(weights["row"]), _distinct(weights["damaged"])
        title = "Does Auto-RGN find the damage?"
        figure, grid = _canvas(title, models, columns, text, list(weights["scenario"]))
        for line, model in zip(grid, models, strict=True):
            own = weights[weights["row"] == model]
            for axes, damaged in zip(line, columns, strict=True):
                _bars(axes, own[own["damaged"] == damaged], damaged)
            top = max(axes.get_ylim()[1] for axes in line)
            for axes in line:
                axes.set_ylim(0, top)
            line[0].set_ylabel(f"{model}\naccumulated weight")
        blocks = _distinct(weights["block"])
        figure.legend(
            handles=[Patch(color=look(name)[0], label=name) for name in blocks],
            loc="upper right",
            ncols=len(blocks),
            frameon=False,
            fontsize=_SMALL,
        )
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, damaged: str) -> None:
    means = rows.groupby(["position", "block"], sort=True)["weight"].mean().reset_index()
    learn = means[means["weight"] > 0]
    colours = [look(block)[0] for block in means["block"]]
    axes.bar(means["position"], means["weight"], 1.0, color=colours)
    for block, own in learn.groupby("block", sort=False):
        ends = own["position"].min() - 0.5, own["position"].max() + 0.5
        here = block == damaged
        axes.hlines(
            own["weight"].mean(), *ends, color="black" if here else DARK, lw=2.4 if here else 0.9
        )
    axes.set_xticks([])
    axes.set_xlabel(f"{len(means)} tensors, first to last", fontsize=_SMALL)
    axes.margins(x=0.01)


def _canvas(
    title: str, models: Sequence[str], columns: Sequence[str], text: str, scenarios: list[str]
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with title, status and caption, and axes by model and damaged block."""
    width, height = max(len(columns) * _PANEL[0], 5.4), len(models) * _PANEL[1]
    below = textwrap.wrap(text, int(width * 18))
    top, bottom = 0.52, 0.12 + 0.15 * len(below)
    total = height + top + bottom
    figure = Figure(figsize=(width, total))
    figure.set_layout_engine("constrained", rect=(0.005, bottom / total, 0.985, height / total))
    figure.text(0.012, 1 - 0.08 / total, title, va="top", fontsize=12, fontweight="bold")
    status = evidence(list(dict.fromkeys(scenarios)))
    figure.text(0.012, 1 - 0.32 / total, status, va="top", color=GREY)
    figure.text(0.012, 0.06 / total, "\n".join(below), va="bottom", fontsize=7, color=GREY)
    grid = figure.subplots(len(models), len(columns), squeeze=False)
    for axes, damaged in zip(grid[0], columns, strict=True):
        axes.set_title("no damage" if damaged == UNDAMAGED else f"damage in {damaged}")
    return figure, [list(line) for line in grid]


def _distinct(values: pd.Series, *without: str) -> list[str]:
    return [value for value in dict.fromkeys(values) if value not in without]
