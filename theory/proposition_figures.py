"""Figures of what tuning the wrong layer leaves; drawn without pyplot, from the tables of `theory.wrong_*_layer`."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from theory.wrong_last_layer import over_seeds

FIRST, LAST, GREY = "#0072B2", "#D55E00", "#6B6B6B"
SHADES = ("#E69F00", "#D55E00", "#882255", "#332288")
MARKERS = "osD^"
ROUNDING = 1e-16  # a relative loss below this is rounding
_CIFAR_C = (0.4, 1.0)  # sigma of CIFAR-10-C's Gaussian blur, severities 1 to 5, in pixels


def wrong_last_layer(by_condition: pd.DataFrame, by_blur: pd.DataFrame) -> Figure:
    """Four panels: the two random shifts by condition number, blur by sigma, and B_pre A^-1 in float64."""
    seeds = " and ".join(dict.fromkeys([_seeds(by_condition), _seeds(by_blur)]))
    figure = _figure(
        (7.2, 6.3),
        "Shifted input: what the best last layer leaves",
        "Population losses, computed exactly and not simulated, for Gaussian inputs and random ReLU networks. "
        f"Lines: median over {seeds}; bands: their range. a, b: d = {by_condition['d'].iloc[0]} inputs; dashed lines "
        f"leave the panel. c, d: {by_blur['h'].iloc[0]} × {by_blur['h'].iloc[0]} pixels, k = {by_blur['k'].iloc[0]}, "
        "reflecting boundary, ρ the correlation of neighbouring pixels; grey: the σ of CIFAR-10-C's severities 1 to 5. "
        "d: the first layer of Eq. 5, which leaves 0 in exact arithmetic; "
        "κ: condition number of the blur; 1e-16 is rounding. Loss / E y² = 1: the network "
        "that is 0 everywhere.",
    )
    a, b, c, d = figure.subplots(2, 2).flat
    for axes, letter, shift in ((a, "a", "stretch"), (b, "b", "turn and stretch")):
        _widths(axes, over_seeds(by_condition[by_condition["shift"] == shift]))
        axes.set_title(f"{letter}  {shift[0].upper()}{shift[1:]}")
    blurred = over_seeds(by_blur)
    _blur(c, blurred)
    _float64(d, blurred)
    a.legend(frameon=False, fontsize=7, loc="upper right")  # b is drawn alike
    return figure


def wrong_first_layer(by_share: pd.DataFrame) -> Figure:
    """Relative loss by the number of positive entries of v_pre: lower bound, best found, construction."""
    table = over_seeds(by_share, ("bound", "best", "swap"))
    k, d, t, restarts = (by_share[name].iloc[0] for name in ("k", "d", "t", "restarts"))
    figure = _figure(
        (5.6, 4.1),
        "Sign-flipped output: what the best first layer leaves",
        f"t = {t:g} (any t < 0 gives the same), k = {k}, d = {d}, Gaussian inputs, random ReLU networks. "
        f"All losses are exact population values; the minimum over B is bracketed, its upper end being the best "
        f"of {restarts + 1} descents. Lines: median; bands: range over {_seeds(by_share)}. At 0 and {k} positive "
        f"entries it is Proposition 2 that gives the bound.",
    )
    axes = figure.subplots()
    styles = (
        ("swap", "units swapped, no search", GREY, "s", "--"),
        ("best", "best B found", FIRST, "o", "-"),
        ("bound", "proved lower bound", "#009E73", "^", "-"),
    )
    for name, label, colour, marker, line in styles:
        _line(axes, table["positive"], table, name, label, colour, marker, line)
    axes.set(
        xlabel=rf"positive entries of $v_{{pre}}$, out of k = {k}",
        ylabel="loss / E y²",
        ylim=(-0.02, 1.05),
    )
    axes.set_xticks(range(k + 1))
    axes.legend(frameon=False, loc="upper center")
    return figure


def _widths(axes: Axes, table: pd.DataFrame) -> None:
    for (k, rows), colour, marker in zip(table.groupby("k"), SHADES, MARKERS, strict=False):
        _line(axes, rows["condition"], rows, "last_layer", f"last layer, k = {k}", colour, marker)
    widths = sorted(set(table["k"]))
    rows = table[table["k"] == widths[len(widths) // 2]]
    label = f"not tuned, k = {rows['k'].iloc[0]}"
    _line(axes, rows["condition"], rows, "untuned", label, GREY, "_", "--", band=False)
    axes.set(xscale="log", xlabel="condition number of A", ylabel="loss / E y²", ylim=(-0.02, 1.05))


def _blur(axes: Axes, table: pd.DataFrame) -> None:
    """Two covariances of the pixels, tuned and not."""
    for (rho, rows), colour, marker in zip(
        table.groupby("rho"), (LAST, SHADES[2]), "os", strict=False
    ):
        name = f"ρ = {rho:g}"
        _line(axes, rows["sigma"], rows, "last_layer", f"last layer, {name}", colour, marker)
        _line(
            axes, rows["sigma"], rows, "untuned", f"not tuned, {name}", colour, "_", ":", band=False
        )
    axes.axvspan(*_CIFAR_C, color="#EFEFEF", zorder=0)
    axes.text(sum(_CIFAR_C) / 2, 1.01, "CIFAR-10-C", ha="center", va="top", fontsize=7, color=GREY)
    axes.set(xlabel="σ of the Gaussian blur (pixels)", ylabel="loss / E y²", ylim=(-0.02, 1.05))
    axes.legend(frameon=False, fontsize=7, loc="lower right", bbox_to_anchor=(1.02, 0.17))
    axes.set_title("c  Gaussian blur")


def _float64(axes: Axes, table: pd.DataFrame) -> None:
    for (rho, rows), colour, marker in zip(
        table.groupby("rho"), (FIRST, "#56B4E9"), "os", strict=False
    ):
        name = f"ρ = {rho:g}"
        losses = rows[["first_layer_median", "first_layer_min", "first_layer_max"]].clip(
            lower=ROUNDING
        )
        _line(axes, rows["sigma"], losses, "first_layer", name, colour, marker)
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.margins(x=0.08)  # for the last label
    rows = table.drop_duplicates("sigma").set_index("sigma")["condition"]
    for sigma in _spread(rows.index[rows > 10], 4):
        text = f"κ = 10$^{{{np.log10(rows[sigma]):.0f}}}$"
        axes.text(sigma, 1e-18, text, ha="center", va="bottom", fontsize=7, color=GREY)
    axes.set(
        yscale="log",
        ylim=(5e-19, 1e4),
        xlabel="σ of the Gaussian blur (pixels)",
        ylabel="loss / E y²",
    )
    axes.legend(frameon=False, fontsize=7, loc="upper left")
    axes.set_title("d  First layer, in float64")


def _line(
    axes: Axes,
    x: pd.Series,
    table: pd.DataFrame,
    name: str,
    label: str,
    colour: str,
    marker: str,
    line: str = "-",
    band: bool = True,
) -> None:
    axes.plot(
        x, table[f"{name}_median"], line, color=colour, marker=marker, ms=3.5, lw=1.3, label=label
    )
    if band:
        low, high = table[f"{name}_min"], table[f"{name}_max"]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _figure(size: tuple[float, float], title: str, note: str) -> Figure:
    """An empty figure with its title above and its caption below."""
    width, height = size
    below = textwrap.wrap(note, int(width * 18))
    bottom, top = (0.14 + 0.13 * len(below)) / height, 0.3 / height
    figure = Figure(figsize=size)
    figure.set_layout_engine("constrained", rect=(0.005, bottom, 0.985, 1 - bottom - top))
    figure.text(0.012, 1 - 0.06 / height, title, va="top", fontsize=12, fontweight="bold")
    figure.text(0.012, 0.06 / height, "\n".join(below), va="bottom", fontsize=7, color=GREY)
    return figure


def _seeds(frame: pd.DataFrame) -> str:
    seeds = sorted(set(frame["seed"]))
    return (
        f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})" if len(seeds) > 1 else f"seed {seeds[0]}"
    )


def _spread(values: pd.Index, count: int) -> list[float]:
    """`count` of the values, about equally far apart."""
    given = np.sort(np.asarray(values))
    wanted = np.linspace(given[0], given[-1], count)
    return sorted({float(given[np.abs(given - w).argmin()]) for w in wanted})
