"""Tables 2, 3, 9 and 10 as a figure: a dot per row, episodic beside online, and the paper's values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surgicalft.report.stream_canvas import (
    SMALL,
    canvas,
    caption,
    check_once,
    modes,
    name_panel,
    place_legend,
)
from surgicalft.report.stream_curve_figures import curve_figure
from surgicalft.report.stream_rows import UNCHANGED, in_order
from surgicalft.report.streams import paper_note
from surgicalft.report.style import GREY, look, style

__all__ = ["curve_figure", "stream_figure"]

_SHIFT = {UNCHANGED.mode: 0.0, "episodic": -0.17, "online": 0.17}  # of a dot within its row
_BESIDE = {UNCHANGED.mode: 0.17, "episodic": -0.13, "online": 0.13}  # of the paper's, from the dot
_PAPER: dict[str, Any] = {"marker": "D", "mfc": "white", "mec": "black", "ms": 3.4, "ls": "none"}


def stream_figure(
    table: pd.DataFrame, relative: bool = False, profile: str = "", note: str = ""
) -> Figure:
    """Accuracy (%) of every row of Table 9, a panel per scenario and mean; hollow dots are episodic, full ones online.

    table: of `surgicalft.report.streams.stream_table`, of one model. With `relative`, the difference to no adaptation
    (points), paired by image, in panels of one scale. Error bars: the larger of the standard error of the finite
    number of images and that over seeds. Dotted line: no adaptation. Diamonds: the paper. A value far below no
    adaptation is written at the edge.

    Raises ValueError where a row is there twice, filter the table then, and where nothing is to be drawn.
    """
    check_once(table, ["name", "scenario"])
    shown = table[table["mode"] != UNCHANGED.mode] if relative else table
    check_once(shown, ["name", "scenario"])
    labels, names = list(dict.fromkeys(shown["label"])), in_order(shown["scenario"])
    paper = paper_note(table)
    with style():
        heading = "Which parameters to adapt at test time, episodically or online?"
        across = 3 if len(names) in (3, 5, 6, 9) else min(len(names), 4)
        size = (2.75, 0.32 * len(labels) + 0.75)
        text = caption(table, profile, _bars(table), f"diamonds: {paper}" * bool(paper), note)
        figure, grid = canvas(heading, len(names), across, size, table, text)
        for i, (axes, name) in enumerate(zip(grid, names, strict=True)):
            rows = shown[shown["scenario"] == name]
            low, high = _limits(shown if relative else rows, relative)
            _dots(axes, rows, labels, relative, low)
            axes.set_xlim(low, high)
            axes.set_ylim(len(labels) - 0.4, -0.6)
            axes.set_yticks(range(len(labels)), labels if i % across == 0 else [])
            if i + across >= len(names):  # nothing below
                axes.set_xlabel("minus no adaptation (points)" if relative else "accuracy (%)")
            name_panel(axes, name)
        place_legend(figure, _handles(modes(shown), bool(paper)))
    return figure


def _dots(axes: Axes, rows: pd.DataFrame, labels: list[str], relative: bool, low: float) -> None:
    what, paper = _columns(relative)
    for row, error in zip(rows.to_dict("records"), _errors(rows, what), strict=True):
        y = labels.index(row["label"]) + _SHIFT[row["mode"]]
        if np.isnan(row[what]) or row[what] < low:
            text = "failed" if np.isnan(row[what]) else f"← {row[what]:.1f}".replace("-", "−")
            place = axes.get_yaxis_transform()
            colour = look(row["selection"])[0]
            axes.text(0.01, y, text, transform=place, va="center", fontsize=SMALL, color=colour)
        else:
            axes.errorbar(row[what], y, xerr=error, **_dot(row["selection"], row["mode"]))
        if row[paper] >= low:
            axes.plot(row[paper], y + _BESIDE[row["mode"]], zorder=4, **_PAPER)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    for level in [0.0] if relative else rows.loc[rows["mode"] == UNCHANGED.mode, what].dropna():
        axes.axvline(level, color=GREY, lw=1, ls=":", zorder=0)


def _dot(selection: str, mode: str) -> dict[str, Any]:
    colour, marker = look(selection)
    return {
        **{"color": colour, "ms": 5, "elinewidth": 1.1},
        "marker": "o" if mode == UNCHANGED.mode else marker,
        "mfc": "white" if mode == "episodic" else colour,
    }


def _limits(rows: pd.DataFrame, relative: bool) -> tuple[float, float]:
    """What is drawn with its error bars, one point wide at least; what lies far below no adaptation is left out."""
    what, paper = _columns(relative)
    errors = _errors(rows, what)
    level = 0.0 if relative else rows.loc[rows["mode"] == UNCHANGED.mode, what].mean()
    level = rows[what].median() if np.isnan(level) else level
    if np.isnan(level):
        return 0.0, 100.0
    top = np.nanmax([level, *(rows[what] + errors), *rows[paper]])
    bottom = level - max(10.0, 1.5 * (top - level))
    values = np.array([level, *(rows[what] - errors), *rows[paper]])
    low = np.nanmin(np.where(values < bottom, np.nan, values))
    margin = 0.06 * max(top - low, 1.0)
    cut = bool((rows[what] < low).any())  # which needs room for a number
    return float(low - (4 if cut else 1) * margin), float(top + margin)


def _columns(relative: bool) -> tuple[str, str]:
    return ("gain", "paper_gain") if relative else ("accuracy", "paper")


def _errors(rows: pd.DataFrame, what: str) -> npt.NDArray[np.float64]:
    """The larger of both errors, 0 where neither is known."""
    larger = rows[[f"{what}_error", f"{what}_seed_error"]].max(axis=1)
    return larger.fillna(0).to_numpy()


def _bars(table: pd.DataFrame) -> str:
    images = "error bars: standard error of the finite number of images"
    return images + (" or, where larger, over seeds" if table["n"].max() > 1 else "")


def _handles(there: Sequence[str], paper: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=GREY, marker="o", mfc=face, ls="none", ms=5, label=mode)
        for mode, face in (("episodic", "white"), ("online", GREY))
        if mode in there
    ]
    handles.append(Line2D([], [], color=GREY, lw=1, ls=":", label="no adaptation"))
    return handles + [Line2D([], [], label="the paper", **_PAPER)] * paper
