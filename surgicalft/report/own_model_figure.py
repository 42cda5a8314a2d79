"""A figure of a user's own network: accuracy, tuned parameters and cost by what was tuned."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from surgicalft.report.own_model import ratio
from surgicalft.report.style import DARK, GREY, look, style

_WIDTH, _ROW, _FRAME = 6.4, 0.27, 1.0  # inches
_BAND = "#EEF3E2"


def own_model_figure(frame: pd.DataFrame, recommended: str, title: str, note: str) -> Figure:
    """Test accuracy by selection, in the order of `frame` (see `surgicalft.report.own_model.table`).

    Bars: standard error over seeds, of one seed the binomial one of its test images. Dashed: tuning everything; dotted:
    no tuning. `recommended` lies on a band. To the right, tuned parameters and cost. `note` goes below.
    """
    rows = frame[frame["selection"] != "none"].reset_index(drop=True)
    below = textwrap.wrap(note, int(_WIDTH * 18))
    height = _FRAME + _ROW * len(rows) + 0.15 * len(below)
    with style():
        figure = Figure(figsize=(_WIDTH, height))
        bottom = 0.12 + 0.15 * len(below)
        rect = (0.005, bottom / height, 0.985, 1 - (bottom + 0.52) / height)
        figure.set_layout_engine("constrained", rect=rect)
        figure.text(
            0.012, 1 - 0.08 / height, "Which block to tune?", va="top", fontsize=12, weight="bold"
        )
        figure.text(0.012, 1 - 0.32 / height, title, va="top", color=GREY)
        figure.text(0.012, 0.06 / height, "\n".join(below), va="bottom", fontsize=7, color=GREY)
        axes = figure.subplots()
        _points(axes, rows, recommended)
        _levels(axes, frame)
        _columns(axes, rows)
    return figure


def _points(axes: Axes, rows: pd.DataFrame, recommended: str) -> None:
    errors = rows["test_accuracy_error"].fillna(rows["binomial_error"])
    for y, (row, error) in enumerate(zip(rows.to_dict("records"), errors, strict=True)):
        colour, marker = look(row["selection"])
        axes.errorbar(row["test_accuracy"], y, xerr=error, color=colour, marker=marker, ms=6)
        if row["selection"] == recommended:
            axes.axhspan(y - 0.5, y + 0.5, color=_BAND, lw=0, zorder=0)
    names = [_title(name, recommended) for name in rows["selection"]]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.set_xlabel("test accuracy (%)")
    axes.margins(x=0.1)


def _title(name: str, recommended: str) -> str:
    short = textwrap.shorten(name, 28, placeholder="…")
    return f"{short}  ✓" if name == recommended else short


def _levels(axes: Axes, frame: pd.DataFrame) -> None:
    """Lines at the accuracy of tuning everything and of no tuning, named above; the lower one's name ends there.

    No tuning that is far below all others would press these together: an arrow points to it instead. What failed has
    no line.
    """
    known = frame.set_index("selection")["test_accuracy"]
    tuned = known.drop("none").dropna()
    far = known["none"] < tuned.min() - max(np.ptp(tuned), 1.0)
    high = known[["all", "none"]].max()
    for name, title, colour, line in (("all", "all", DARK, "--"), ("none", "no tuning", GREY, ":")):
        level, text = known[name], f"{title} {known[name]:.1f}"
        if np.isnan(level):
            continue
        above: dict[str, Any] = {"color": colour, "fontsize": 7.5, "va": "bottom"}
        if name == "none" and far:
            axes.text(0, 1.01, f"← {text}", transform=axes.transAxes, ha="left", **above)
            continue
        axes.axvline(level, color=colour, lw=0.9, ls=line, zorder=1)
        side = "left" if level == high else "right"
        place = (4 if side == "left" else -4, 2)
        along = axes.get_xaxis_transform()
        axes.annotate(text, (level, 1), place, along, "offset points", ha=side, **above)


def _columns(axes: Axes, rows: pd.DataFrame) -> None:
    """Tuned parameters and cost beside each row."""
    beside = axes.get_yaxis_transform()
    for x, title in ((1.1, "parameters"), (1.27, "cost")):
        axes.text(x, 1.01, title, transform=axes.transAxes, ha="center", color=GREY, fontsize=7.5)
    for y, row in rows.iterrows():
        texts = (f"{row['tuned_parameters']:,}", ratio(row["cost"]))
        for x, text in zip((1.1, 1.27), texts, strict=True):
            axes.text(x, y, text, transform=beside, ha="center", va="center", fontsize=7.5)
