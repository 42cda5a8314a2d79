"""Figure 4, right: accuracy along the stream, where adaptation lasts and where it wears off."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surgicalft.report.figures import apart
from surgicalft.report.stream_canvas import (
    SMALL,
    canvas,
    caption,
    check_once,
    modes,
    name_panel,
    place_legend,
)
from surgicalft.report.stream_rows import UNCHANGED, in_order
from surgicalft.report.style import GREY, look, style

_PANELS = (("accuracy", "gain"), ("recent", "recent_gain"))
_DASHES = {UNCHANGED.mode: "-", "episodic": "--", "online": "-"}
_COLLAPSE: dict[str, Any] = {"marker": "X", "mfc": "black", "mec": "white", "ms": 7, "ls": "none"}
_RESET: dict[str, Any] = {"marker": "v", "mfc": "white", "mec": "black", "ms": 4.5, "ls": "none"}
_MARKS = (
    ("collapsed", _COLLAPSE, "collapse noticed"),
    ("reset", _RESET, "set back to the source model"),
)


def curve_figure(
    curves: pd.DataFrame, relative: bool = False, profile: str = "", note: str = ""
) -> Figure:
    """Accuracy (%) against images seen, left of all so far, right of the last ones; a row of panels per scenario.

    curves: of `surgicalft.report.stream_curves.curve`, of one model. With `relative`, the difference to no adaptation
    (points), paired by image. Bands: one standard error. Grey: no adaptation. Crosses: collapse was noticed;
    triangles: the network was set back to the source model. Episodic lines are dashed, those with resets dotted.

    Raises ValueError where a line is there twice, filter the curves then, and where nothing is to be drawn.
    """
    shown = curves[curves["mode"] != UNCHANGED.mode] if relative else curves
    check_once(shown, ["name", "scenario", "images"])
    names = in_order(shown["scenario"])
    with style():
        text = caption(curves, profile, "bands: one standard error", note)
        heading = "What happens to accuracy as the stream goes on?"
        figure, grid = canvas(heading, 2 * len(names), 2, (4.3, 2.9), curves, text)
        for i, axes in enumerate(grid):
            rows = shown[shown["scenario"] == names[i // 2]]
            _lines(axes, rows, _PANELS[i % 2][relative])
            _label_axes(axes, rows, recent=bool(i % 2), relative=relative)
            name_panel(axes, names[i // 2])
        place_legend(figure, _handles(shown))
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, what: str) -> None:
    ends: dict[str, tuple[float, str]] = {}
    several = len(modes(rows)) > 1
    for name, own in rows.groupby("name", sort=False):
        first, last = own.iloc[0], own[what].iloc[-1]
        colour = look(first["selection"])[0]
        _line(axes, own, what, colour)
        if pd.notna(last):
            ends[str(name) if several else first["label"]] = (last, colour)
    if what.endswith("gain"):
        axes.axhline(0, color=GREY, lw=1, ls=":", zorder=0)
    axes.set_xlim(0, rows["images"].max())
    axes.margins(y=0.08)
    _label_ends(axes, ends)


def _line(axes: Axes, own: pd.DataFrame, what: str, colour: str) -> None:
    """A line with its band and marks; no adaptation is broad and pale, since others may lie on it."""
    mode, resets = own["mode"].iloc[0], own["with_reset"].iloc[0]
    none = mode == UNCHANGED.mode
    looks: dict[str, Any] = {"lw": 4, "alpha": 0.5, "zorder": 1} if none else {"lw": 1.5}
    axes.plot(own["images"], own[what], color=colour, ls=":" if resets else _DASHES[mode], **looks)
    low, high = (own[what] + sign * own[f"{what}_error"] for sign in (-1, 1))
    axes.fill_between(own["images"], low, high, color=colour, alpha=0.13, lw=0)
    for column, marker, _ in _MARKS:
        marked = own[own[column]]
        axes.plot(marked["images"], marked[what], zorder=4, **marker)


def _label_ends(axes: Axes, ends: dict[str, tuple[float, str]]) -> None:
    """Names beside the ends of their lines, moved apart where they would cover each other."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    names = sorted(ends, key=ends.__getitem__)
    heights = apart([ends[name][0] for name in names], 0.062 * (high - low))
    words: dict[str, Any] = {"va": "center", "fontsize": SMALL, "weight": "bold"}
    words |= {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for name, height in zip(names, heights, strict=True):
        place = (1.0, height)
        axes.annotate(name, place, (4, 0), color=ends[name][1], annotation_clip=False, **words)


def _label_axes(axes: Axes, rows: pd.DataFrame, recent: bool, relative: bool) -> None:
    axes.set_xlabel("images seen")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    which = f"of the last {rows['window'].iloc[0]:,} images" if recent else "so far"
    unit = ",\nminus no adaptation (points)" if relative else " (%)"
    axes.set_ylabel(f"accuracy {which}{unit}")


def _handles(rows: pd.DataFrame) -> list[Line2D]:
    there = modes(rows)
    handles = [Line2D([], [], color=GREY, ls=_DASHES[mode], label=mode) for mode in there]
    marks = [(looks, words) for column, looks, words in _MARKS if rows[column].any()]
    marked = [Line2D([], [], label=words, **looks) for looks, words in marks]
    return (handles if len(there) > 1 else []) + marked
