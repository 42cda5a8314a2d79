"""Figures from summaries (`surgicalft.report.tables.summary`), the paper's values beside ours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from surgicalft.report.style import DARK, GREY, look, panels, save, style
from surgicalft.report.tables import selection_key

__all__ = ["accuracy_against_images", "save", "style", "which_block"]

_PAPER: dict[str, Any] = {"marker": "D", "mfc": "white", "mec": "black", "ms": 4.5, "ls": "none"}
_LABEL: dict[str, Any] = {
    **{"fontsize": 7.5, "textcoords": "offset points", "annotation_clip": False, "zorder": 3},
    "bbox": {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6},
}


def which_block(
    summary: pd.DataFrame, relative: bool = False, profile: str = "", note: str = ""
) -> Figure:
    """Accuracy by what was tuned, a panel per scenario, as in the paper's Figure 2.

    `summary`: of one model and one number of images. Points, with a level line at the accuracy of
    tuning all and one at that of no tuning; with `relative`, bars of the difference from tuning
    all, whose own standard error is the band. Error bars: standard error over seeds, of one seed
    the binomial one. Diamonds: the paper's values. `note` is added to the caption.

    Raises ValueError where a scenario has an option twice: filter the summary first.
    """
    _check_once(summary, ["scenario", "selection"])
    with style():
        figure, axes_and_rows = panels(summary, "Which block to tune?", profile, note)
        for axes, rows in axes_and_rows:
            (_bars if relative else _points)(axes, rows)
        _finish(
            figure,
            summary,
            "target accuracy minus that of all" if relative else "target accuracy (%)",
        )
    return figure


def accuracy_against_images(summary: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Accuracy against the number of target images, a line per option, as in the paper's Figure 4.

    `summary`: of one model. No tuning is a level line. Error bars and diamonds as in `which_block`.

    Raises ValueError where an option has a number of images twice: filter the summary first.
    """
    _check_once(summary, ["scenario", "selection", "n_tune"])
    with style():
        title = "How many target images does it take?"
        figure, axes_and_rows = panels(summary, title, profile, note)
        for axes, rows in axes_and_rows:
            _curves(axes, rows)
        _finish(figure, summary, "target accuracy (%)", "target images to tune on")
    return figure


def _points(axes: Axes, rows: pd.DataFrame) -> None:
    tuned, errors = _options(rows, without=("none",))
    for x, (row, error) in enumerate(zip(tuned.to_dict("records"), errors, strict=True)):
        colour, marker = look(row["selection"])
        axes.errorbar(x, row["mean"], error, color=colour, marker=marker, ms=6)
        _value(axes, x, row["mean"] + error, row["mean"], above=True)
        _paper(axes, x + 0.27, row["paper"], row["paper_error"])
    for mean in tuned[tuned["selection"] == "all"]["mean"]:
        axes.axhline(mean, color=DARK, lw=0.8, ls="--", zorder=1, label="all")
    _no_tuning(axes, rows)
    _options_on_x(axes, tuned["selection"])


def _bars(axes: Axes, rows: pd.DataFrame) -> None:
    full = rows[rows["selection"] == "all"]
    if len(full) != 1:
        raise ValueError(f"{rows['scenario'].iloc[0]}: no run of 'all' to be relative to")
    base, base_error = full["mean"].iloc[0], _errors(full)[0]
    tuned, errors = _options(rows, without=("none", "all"))
    axes.axhspan(-base_error, base_error, color=DARK, alpha=0.12, lw=0)
    axes.axhline(0, color=DARK, lw=0.8)
    for x, (row, error) in enumerate(zip(tuned.to_dict("records"), errors, strict=True)):
        gain = row["mean"] - base
        axes.bar(x, gain, 0.62, color=look(row["selection"])[0], yerr=error, ecolor=DARK)
        _value(axes, x, gain + np.copysign(error, gain), gain, above=gain >= 0, sign="+")
        _paper(axes, x + 0.4, row["paper"] - full["paper"].iloc[0], row["paper_error"])
    axes.margins(y=0.15)
    _options_on_x(axes, tuned["selection"])
    end = len(tuned) - 0.45
    axes.annotate(f"all\n{base:.1f}", (end, 0), (0, 0), va="center", **_LABEL)
    axes.set_xlim(right=end + 0.45)
    for level in rows[rows["selection"] == "none"]["mean"]:
        axes.set_xlabel(f"no tuning {level - base:+.1f}", loc="left", color=GREY, fontsize=7.5)


def _curves(axes: Axes, rows: pd.DataFrame) -> None:
    tuned, errors = _options(rows, without=("none",))
    names = list(dict.fromkeys(tuned["selection"]))
    images = sorted(set(tuned["n_tune"]))
    ratio = max(images[-1] / images[0], 10)  # of the axis, at least
    ends = {}
    for i, name in enumerate(names):
        mine = (tuned["selection"] == name).to_numpy()
        line, error = tuned[mine], errors[mine]
        x = line["n_tune"] * ratio ** (
            0.004 * (i - (len(names) - 1) / 2)
        )  # so that error bars don't cover
        colour, marker = look(name)
        axes.errorbar(x, line["mean"], error, color=colour, marker=marker, ms=4.5, lw=1.4)
        ends[name] = line["mean"].iloc[-1]
        for row in line.to_dict("records"):
            _paper(axes, row["n_tune"] * ratio**0.035, row["paper"], row["paper_error"])
    axes.set_xscale("log")
    axes.set_xticks(images, [f"{n:,}" for n in images])
    axes.set_xticks([], minor=True)
    _no_tuning(axes, rows)
    axes.set_xlim(images[0] * ratio**-0.06, images[-1] * ratio**0.4)
    _label_ends(axes, ends, images[-1] * ratio ** (0.055 if rows["paper"].notna().any() else 0.03))


def _options(rows: pd.DataFrame, without: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of the other options in the network's order, and their error bars."""
    kept = rows[~rows["selection"].isin(without)].sort_values("n_tune")
    kept = kept.sort_values("selection", key=lambda s: s.map(selection_key), kind="stable")
    return kept, _errors(kept)


def _errors(rows: pd.DataFrame) -> np.ndarray:
    """The standard error over seeds; of one seed, the binomial one of its test images."""
    return rows["standard_error"].fillna(rows["binomial_error"]).to_numpy()


def _extent(rows: pd.DataFrame) -> tuple[float, float]:
    """The range of all error bars, ours and the paper's, one point wide at least."""
    tuned, errors = _options(rows, without=("none",))
    paper = tuned["paper_error"].fillna(0)
    ends = [tuned["mean"] - errors, tuned["mean"] + errors]
    ends += [tuned["paper"] - paper, tuned["paper"] + paper]
    known = np.concatenate(ends)[~np.isnan(np.concatenate(ends))]
    middle = (known.min() + known.max()) / 2 if len(known) else 50.0
    half = max(np.ptp(known), 1.0) / 2 if len(known) else 50.0
    return middle - half, middle + half


def _no_tuning(axes: Axes, rows: pd.DataFrame) -> None:
    """The level of no tuning: a line, or an arrow where a line would press the rest together."""
    low, high = _extent(rows)
    level = rows[rows["selection"] == "none"]["mean"].mean()
    x, ha = _free_side(rows, level)
    if low - 0.5 * (high - low) <= level <= high:
        low = min(low, level)
        axes.axhline(level, color=GREY, lw=1, ls=":", zorder=1)
        place = (x, level), (0, -2), ("axes fraction", "data")
    else:
        place = (x, 0), (0, 12), ("axes fraction", "axes fraction")
    if not np.isnan(level):
        arrow = " ↓" if level < low else " ↑" if level > high else ""
        text = f"no tuning {level:.1f}{arrow}"
        axes.annotate(text, *place, color=GREY, va="top", ha=ha, **_LABEL)
    span = high - low
    axes.set_ylim(low - 0.22 * span, high + 0.17 * span)
    low, high = axes.get_ylim()
    if low < 0 or high > 100:
        axes.set_yticks([y for y in axes.get_yticks() if max(low, 0) <= y <= min(high, 100)])


def _free_side(rows: pd.DataFrame, level: float) -> tuple[float, str]:
    """The left end of the axes, or the right one where a point at the left lies close to the level."""
    means = _options(rows, without=("none",))[0]["mean"]
    low, high = _extent(rows)
    near = abs(means.iloc[0] - level) < 0.15 * (high - low)
    clear = abs(means.iloc[-1] - level) > abs(means.iloc[0] - level)
    return (0.99, "right") if near and clear else (0.01, "left")


def _value(axes: Axes, x: float, y: float, value: float, above: bool, sign: str = "") -> None:
    """The number at the end of its error bar."""
    if np.isnan(value):
        axes.text(x, 0.5, "failed", transform=axes.get_xaxis_transform(), ha="center", rotation=90)
        return
    offset, va = ((0, 5), "bottom") if above else ((0, -5), "top")
    axes.annotate(f"{value:{sign}.1f}", (x, y), offset, ha="center", va=va, **_LABEL)


def _paper(axes: Axes, x: float, value: float, error: float) -> None:
    if not np.isnan(value):
        bar = 0 if np.isnan(error) else error
        axes.errorbar(x, value, bar, color="black", lw=1, zorder=4, **_PAPER)


def _options_on_x(axes: Axes, names: Sequence[str]) -> None:
    crowded = sum(map(len, names)) > 34
    labels = [name.replace("_", " ") for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=30 if crowded else 0)
    axes.set_xlim(-0.5, len(names) - 0.4)


def _label_ends(axes: Axes, ends: dict[str, float], x: float) -> None:
    """Names at the ends of their curves, moved apart where they would cover each other."""
    low, high = axes.get_ylim()
    names = sorted((name for name in ends if not np.isnan(ends[name])), key=ends.__getitem__)
    heights = apart([ends[name] for name in names], 0.075 * (high - low))
    for name, height in zip(names, heights, strict=True):
        colour = look(name)[0]
        axes.annotate(name, (x, height), (3, 0), va="center", color=colour, weight="bold", **_LABEL)


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights moved as little as needed to lie `gap` apart: neighbours share the move."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _bottom(groups[-1], gap) - _top(groups[-2], gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, gap) + i * gap for group in groups for i in range(len(group))]


def _bottom(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: list[float], gap: float) -> float:
    return sum(group) / len(group) + gap * (len(group) - 1) / 2


def _finish(figure: Figure, summary: pd.DataFrame, y: str, x: str = "") -> None:
    """Axis labels at the outer panels, and what the diamonds are."""
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(y)
        axes.set_xlabel(x or axes.get_xlabel())
    sources = {source.split(" (")[0] for source in summary["paper_source"] if source}
    if sources:
        mean = summary[summary["paper"].notna()]["n_scenarios"].max() > 1
        text = f"\u25c7 the paper, {', '.join(sorted(sources))}"
        text += " (of corruptions: the mean of its 14)" if mean else ""
        height = 1 - 0.32 / figure.get_figheight()
        figure.text(0.988, height, text, ha="right", va="top", fontsize=8)


def _check_once(summary: pd.DataFrame, by: list[str]) -> None:
    twice = summary[summary.duplicated(by)]
    if len(twice):
        named = dict(twice.iloc[0][by])
        others = [n for n in ("model", "n_tune", "method") if n in summary and n not in by]
        raise ValueError(f"{named} is there twice; keep one value of {others} in the summary")
