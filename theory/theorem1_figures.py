"""Pictures of Theorem 1: paths, the forgetting law, phase diagrams, and what breaks it.

Every function draws numbers that it is given and returns a figure; nothing is computed here.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from theory.breaks import Break
from theory.comparisons import Law, Means
from theory.networks import Array
from theory.phase import Curve, Diagram
from theory.theorem1 import Outcome

FIRST, FULL, BOUND = "#0072B2", "#333333", "#D55E00"  # Okabe and Ito (2008)
LOSS = "target loss / E y²"
FLOOR = 1e-16  # losses below are drawn here


def paths(times: Array, first: Array, full: Array, bound: Array, caption: str) -> Figure:
    """Target loss (trials, times) along both flows, a panel per trial, with full tuning's bound (trials,)."""
    figure, axes = _panels(
        len(first), "Full tuning never reaches 0; first-layer tuning does", caption
    )
    for i, axis in enumerate(axes):
        axis.loglog(times, np.maximum(full[i], FLOOR), color=FULL, label="both layers")
        axis.loglog(times, np.maximum(first[i], FLOOR), color=FIRST, label="first layer")
        axis.axhline(bound[i], color=BOUND, linestyle="--", label="its bound, all t")
        axis.set(title=f"trial {i}", xlabel="time t", ylim=(1e-14, 10))
    axes[0].set_ylabel(LOSS)
    axes[0].legend(frameon=False, loc="lower left")
    return figure


def law(result: Law, means: Means, caption: str) -> Figure:
    """The law against the integrated flow, when v grows, and the mean excess against its expectation."""
    figure, axes = _panels(3, "The forgetting law", caption)
    axes[0].loglog(result.integrated, result.exact, ".", color=FULL, markersize=4)
    axes[0].set(title="law and flow", xlabel=f"{LOSS}, integrated", ylabel=f"{LOSS}, by the law")
    axes[1].plot(result.demand, result.v_ratio, ".", color=FULL, markersize=4)
    axes[1].axhline(1, color=BOUND, linewidth=0.8)
    axes[1].axvline(1, color=BOUND, linewidth=0.8)
    axes[1].set(title="when v grows", xlabel="|w orth| / |v b orth| before", ylabel="v end / v pre")
    axes[2].errorbar(means.n, means.mean, means.error, color=FULL, fmt="o", markersize=4)
    axes[2].plot(means.n, means.expected, color=BOUND, label="expectation")
    axes[2].set(title="mean over the data", xlabel="target examples n", ylabel="excess loss / E y²")
    axes[2].set_yscale("log")
    axes[2].legend(frameon=False)
    return figure


def lemma2(result: Outcome, lowest: Array, caption: str) -> Figure:
    """The bound against the lowest point of every path, and how far below its end a path dips."""
    figure, axes = _panels(2, "Lemma 2 along whole paths", caption)
    axes[0].loglog(result.bound, lowest, ".", color=FULL, markersize=4)
    ends = np.array([lowest.min() / 2, lowest.max() * 2])
    axes[0].loglog(ends, ends, color=BOUND, linewidth=0.8)
    axes[0].set(title="lowest loss on the path", xlabel="bound for all t", ylabel=f"{LOSS}, lowest")
    axes[1].hist(lowest / result.full, bins=30, color=FULL)
    axes[1].set(title="the best moment to stop", xlabel="lowest / last loss", ylabel="trials")
    return figure


def costs(curves: Sequence[Curve], caption: str) -> Figure:
    """Expected excess by one quantity each: median and 10-90 % over truth and initialisation."""
    figure, axes = _panels(len(curves), "What forgetting costs", caption)
    for axis, (name, values, cost) in zip(axes, curves, strict=True):
        low, middle, high = np.quantile(cost, [0.1, 0.5, 0.9], axis=1)
        axis.fill_between(values, low, high, color=FULL, alpha=0.15, linewidth=0)
        axis.plot(values, middle, color=FULL, marker="o", markersize=3)
        axis.set(xlabel=name, yscale="log")
        if name.startswith("sigma"):
            axis.set_xscale("log")
    axes[0].set_ylabel("expected excess / E y²")
    return figure


def phases(diagrams: Sequence[Diagram], caption: str) -> Figure:
    """Share of trials in which the theorem holds, with each diagram's line."""
    figure, axes = _panels(len(diagrams), "Where Theorem 1 holds", caption)
    for axis, (name, rows, n, shares, (x, y, label)) in zip(axes, diagrams, strict=True):
        mesh = axis.pcolormesh(n, rows, shares, vmin=0, vmax=1, cmap="cividis", shading="nearest")
        axis.plot(x, y, color="white", linestyle="--", label=label)
        axis.set(xlabel="target examples n", ylabel=name, xlim=_edges(n), ylim=_edges(rows))
        axis.grid(False)
        axis.legend(loc="upper right", fontsize=7, facecolor=FULL, labelcolor="white")
    figure.colorbar(mesh, ax=axes, label="share of trials")
    return figure


def breaks(items: Sequence[Break], caption: str) -> Figure:
    """Median and 10-90 % of both losses over what changes, a panel for each break."""
    figure, axes = _panels(len(items), "What breaks Theorem 1", caption, columns=4)
    for axis, item in zip(axes, items, strict=True):
        for losses, colour, name in (
            (item.full, FULL, "both layers"),
            (item.first, FIRST, "first layer"),
        ):
            _band(axis, item, losses, colour, name)
        axis.set(title=item.title, xlabel=item.label, yscale="log", ylim=(FLOOR / 3, 30))
        if item.ticks:
            axis.set_xticks(item.values, item.ticks)
    for axis in axes[::4]:
        axis.set_ylabel(LOSS)
    axes[0].legend(frameon=False, loc="lower left")
    return figure


def _band(axis: Axes, item: Break, losses: Array, colour: str, name: str) -> None:
    low, middle, high = np.nanquantile(np.maximum(losses, FLOOR), [0.1, 0.5, 0.9], axis=1)
    if item.ticks:  # names, between which there is nothing
        errors = [middle - low, high - middle]
        axis.errorbar(item.values, middle, errors, color=colour, fmt="o", markersize=4, label=name)
        return
    axis.fill_between(item.values, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(item.values, middle, color=colour, marker="o", markersize=3, label=name)
    if item.logarithmic:
        axis.set_xscale("symlog", linthresh=item.values[item.values > 0].min())


def _edges(values: Sequence[int]) -> tuple[float, float]:
    half = (values[1] - values[0]) / 2, (values[-1] - values[-2]) / 2
    return values[0] - half[0], values[-1] + half[1]


def _panels(count: int, title: str, caption: str, columns: int = 4) -> tuple[Figure, list[Axes]]:
    columns = min(count, columns)
    lines = -(-count // columns)
    width, height = max(3.1 * columns, 6.0), 2.6 * lines + 0.9
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", rect=(0.005, 0.35 / height, 0.985, 1 - 0.75 / height))
    figure.text(0.012, 1 - 0.08 / height, title, va="top", fontsize=12, fontweight="bold")
    figure.text(0.012, 0.06 / height, caption, va="bottom", fontsize=7, color="#6B6B6B")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]
