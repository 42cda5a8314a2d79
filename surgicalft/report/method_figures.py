"""Figures of methods: Table 4 as dots, and accuracy against cost."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surgicalft.report.bench import TOP, accuracy_and_cost
from surgicalft.report.methods import PAPER_NOTE, columns, method_table
from surgicalft.report.options import FULL, OPTIONS, UNTUNED, Option
from surgicalft.report.place_labels import freeze_layout, place_labels
from surgicalft.report.style import DARK, GREY, caption, evidence, style
from surgicalft.sweep.record import Record

LOOKS = {  # kind of option: colour, marker, words
    "bound": (DARK, "s", "bounds"),
    "paper": ("#0072B2", "o", "the paper's methods"),
    "comparison": ("#E69F00", "^", "comparisons"),
    "candidate": ("#D55E00", "D", "candidates"),
}
_SMALL = 7.5
_PAPER: dict[str, Any] = {"marker": "D", "mfc": "white", "mec": "black", "ms": 4.5, "ls": "none"}


def method_dots(table: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Table 4 as a figure: accuracy (%) of every method, a panel per scenario or family of scenarios.

    table: of `surgicalft.report.methods.method_table`. Error bars: standard error over seeds, of one seed the
    binomial one. Lines at full fine-tuning (dashed) and Cross-Val (dotted), diamonds at the paper's values.
    """
    names = columns(table)
    labels = list(dict.fromkeys(table["option"]))
    note = " · ".join(filter(None, (note, f"the paper: {PAPER_NOTE}" * _has_paper(table))))
    with style():
        size = (2.7, 0.19 * len(labels) + 0.75)
        most = 3 if len(names) in (5, 6, 9) else 4
        shown = table[table["scenario"].isin(names)]
        figure, grid = _canvas(
            "Which method to tune with?", len(names), most, size, shown, profile, note
        )
        for i, (axes, name) in enumerate(zip(grid, names, strict=True)):
            _dots(axes, table[table["scenario"] == name], labels)
            axes.set_title(name)
            axes.set_yticks(range(len(labels)), labels if i % most == 0 else [])
            axes.set_xlabel("target accuracy (%)")
        _legend(figure, shown)
    return figure


def accuracy_against_cost(
    records: Iterable[Record],
    design: Sequence[str] = (),
    options: Sequence[Option] = OPTIONS,
    rule: str = "target_valid",
    profile: str = "",
    note: str = "",
) -> Figure:
    """Mean accuracy over scenarios (%) against cost in runs of full fine-tuning (log), a labelled point per option.

    Panels: the scenarios named `design`, and those held out. Error bars: standard error over seeds, of one seed the
    binomial one. No adaptation is a level line; an option that lacks a scenario is left out and named.

    Raises ValueError where no cost was recorded.
    """
    records = list(records)
    means = accuracy_and_cost(records, design, options, rule)
    drawn = means[means["mean"].notna() & (means["cost"] > 0) & (means["option"] != UNTUNED)]
    if drawn.empty:
        raise ValueError(
            "no record tells its forward passes, or there is no full fine-tuning: no costs to draw"
        )
    table = method_table(records, options, rule)
    with style():
        names = list(dict.fromkeys(drawn["part"]))
        title = "What does a method buy, and what does it cost?"
        note = "; ".join(filter(None, (note, _left_out(means))))
        figure, grid = _canvas(title, len(names), 2, (5.4, 4.2), table, profile, note)
        for axes, part in zip(grid, names, strict=True):
            rows = drawn[drawn["part"] == part]
            _points(axes, rows)
            _untuned(axes, means[(means["part"] == part) & (means["option"] == UNTUNED)]["mean"])
            axes.set_title(_part(part, rows["n_scenarios"].iloc[0], bool(design)))
        _legend(figure, drawn)
        freeze_layout(figure)
        for axes, part in zip(grid, names, strict=True):
            rows = drawn[drawn["part"] == part]
            colours = [LOOKS[kind][0] for kind in rows["kind"]]
            errors = [_error(row) for row in rows.to_dict("records")]
            points = rows[["cost", "mean"]].to_numpy(dtype=float)
            place_labels(axes, points, rows["option"], colours, errors)
    return figure


def _canvas(
    title: str,
    count: int,
    most: int,
    size: tuple[float, float],
    table: pd.DataFrame,
    profile: str,
    note: str,
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `most` beside each other, with title, evidence and caption."""
    across = min(count, most)
    lines = -(-count // across)
    width, height = max(across * size[0] + 0.9, 7.2), lines * size[1]
    below = textwrap.wrap(caption(table, profile, note), int(width * 18))
    top, bottom = 0.56, 0.12 + 0.15 * len(below)
    total = height + top + bottom
    figure = Figure(figsize=(width, total))
    FigureCanvasAgg(figure)  # which knows how large a text is
    figure.set_layout_engine("constrained", rect=(0.005, bottom / total, 0.985, height / total))
    figure.text(0.012, 1 - 0.08 / total, title, va="top", fontsize=12, fontweight="bold")
    known = evidence(list(dict.fromkeys(table["scenario"])))
    figure.text(0.012, 1 - 0.32 / total, known, va="top", color=GREY)
    figure.text(0.012, 0.06 / total, "\n".join(below), va="bottom", fontsize=7, color=GREY)
    grid = list(figure.subplots(lines, across, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _has_paper(rows: pd.DataFrame) -> bool:
    return "paper" in rows and bool(rows["paper"].notna().any())


def _legend(figure: Figure, rows: pd.DataFrame) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, ls="none", ms=5, label=words)
        for kind, (colour, marker, words) in LOOKS.items()
        if kind in set(rows["kind"])
    ]
    if _has_paper(rows):
        handles.append(Line2D([], [], label="the paper", **_PAPER))
    place = (0.995, 1 - 0.28 / figure.get_figheight())
    options: dict[str, Any] = {"frameon": False, "fontsize": _SMALL, "handletextpad": 0.1}
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=place, ncols=5, **options)


def _dots(axes: Axes, rows: pd.DataFrame, labels: list[str]) -> None:
    low, high = _extent(rows[rows["option"] != UNTUNED])
    for row in rows.to_dict("records"):
        y, mean = labels.index(row["option"]), row["mean"]
        colour, marker, _ = LOOKS[row["kind"]]
        if math.isnan(mean):
            axes.text(
                0.02,
                y,
                "failed",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=_SMALL,
            )
        elif mean < low:
            place = axes.get_yaxis_transform()
            axes.text(0.01, y, f"← {mean:.1f}", transform=place, va="center", fontsize=_SMALL)
        else:
            axes.errorbar(mean, y, xerr=_error(row), color=colour, marker=marker, ms=4.5)
        if not math.isnan(row["paper"]) and row["paper"] >= low:
            axes.plot(row["paper"], y, **_PAPER, zorder=1)
    for name, dashes in ((FULL, "--"), (TOP, ":")):
        for mean in rows[rows["option"] == name]["mean"].dropna():
            axes.axvline(mean, color=DARK, lw=0.8, ls=dashes, zorder=0)
    axes.set_xlim(low, high)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def _extent(rows: pd.DataFrame) -> tuple[float, float]:
    """The range of what is drawn, with a margin; one point wide at least."""
    errors = np.array([_error(row) for row in rows.to_dict("records")])
    values = np.concatenate([rows["mean"] - errors, rows["mean"] + errors, rows["paper"]])
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 100.0
    margin = max(np.ptp(known), 1.0) * 0.09
    return float(known.min() - 1.6 * margin), float(known.max() + margin)


def _error(row: dict[Any, Any]) -> float:
    """The standard error over seeds; of one seed, the binomial one of its test images."""
    error = row["standard_error"]
    return float(row["binomial_error"] if math.isnan(error) else error)


def _points(axes: Axes, rows: pd.DataFrame) -> None:
    for row in rows.to_dict("records"):
        colour, marker, _ = LOOKS[row["kind"]]
        bars = axes.errorbar(
            row["cost"], row["mean"], _error(row), color=colour, marker=marker, ms=6
        )
        for line in (*bars[1], *bars[2]):
            line.set_alpha(0.45)
    axes.axvline(1, color=GREY, lw=0.7, ls="--", zorder=0)
    axes.set_xscale("log")
    costs, means = rows["cost"], rows["mean"]
    spread = max(float(np.ptp(means)), 1.0)
    axes.set_xlim(costs.min() / 2, costs.max() * 2.2)
    axes.set_ylim(means.min() - 0.22 * spread, means.max() + 0.16 * spread)
    ticks = [
        t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if costs.min() / 2 < t < costs.max() * 2.2
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("cost, relative to full fine-tuning at all its learning rates")
    axes.set_ylabel("target accuracy (%)")


def _untuned(axes: Axes, level: pd.Series) -> None:
    low, high = axes.get_ylim()
    for value in level.dropna():
        inside = low <= value <= high
        if inside:
            axes.axhline(value, color=GREY, lw=1, ls=":", zorder=0)
        text = f"no adaptation {value:.1f}" + ("" if inside else " ↓" if value < low else " ↑")
        y = (value - low) / (high - low) if inside else 0.02
        axes.text(
            0.99,
            y,
            text,
            ha="right",
            va="bottom",
            transform=axes.transAxes,
            fontsize=_SMALL,
            color=GREY,
        )


def _part(part: str, scenarios: int, told_apart: bool) -> str:
    kind = f"{part} " if told_apart else ""
    return f"mean of {scenarios} {kind}scenarios" if scenarios > 1 else f"a single {kind}scenario"


def _left_out(means: pd.DataFrame) -> str:
    """The options that lack a scenario which others have."""
    names = dict.fromkeys(means[means["mean"].isna()]["option"])
    return f"left out, not on all scenarios: {', '.join(names)}" if names else ""
