"""The look of every figure, its title, panels and caption; no display is needed.

Colours are those of Okabe and Ito (2008) and of Tol's muted scheme, which colour-blind readers can
tell apart; every option also has a marker of its own. Figures are made without pyplot, so none
stays open; a notebook shows one by `IPython.display.Image(save(figure, stem))`.
"""

import io
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DPI = 150
GREY, DARK = "#6B6B6B", "#333333"
LOOK = {  # colour, marker
    "block 1": ("#0072B2", "o"),
    "block 2": ("#AA4499", "s"),
    "block 3": ("#009E73", "^"),
    "block 4": ("#999933", "D"),
    "last": ("#D55E00", "v"),
    "all": (DARK, "X"),
    "none": (GREY, "_"),
    "embedding": ("#56B4E9", "P"),
    "first layers": ("#661100", "d"),
    "first_three": ("#332288", "<"),
    "last_three": ("#882255", ">"),
}
_OTHERS = (("#E69F00", "h"), ("#CC79A7", "p"), ("#117733", "*"))
COLOURS = 128  # of the palette of a PNG, which a third of the bytes then suffice for
_PANEL = (3.1, 2.55)  # inches
_EMBEDDED = "glyphs"


def style() -> AbstractContextManager[None]:
    """The settings of matplotlib that every figure is made under: `with style(): ...`."""
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
            "font.size": 8.5,
            "text.color": DARK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.labelcolor": DARK,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "axes.axisbelow": True,
            "axes.titlelocation": "left",
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "grid.color": "#E8E8E8",
            "grid.linewidth": 0.6,
            "xtick.labelcolor": DARK,
            "ytick.labelcolor": DARK,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "xtick.minor.size": 0,
            "errorbar.capsize": 2.5,
            "figure.facecolor": "white",
        }
    )


def look(selection: str) -> tuple[str, str]:
    """Colour and marker of an option, the same in every figure."""
    return LOOK.get(selection) or _OTHERS[sum(selection.encode()) % len(_OTHERS)]


def panels(
    summary: pd.DataFrame, title: str, profile: str, note: str
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A figure with title and caption, and for each scenario, in order, an axes and its rows."""
    scenarios = list(dict.fromkeys(summary["scenario"]))
    columns = 3 if len(scenarios) in (5, 6, 9) else min(len(scenarios), 4)
    lines = -(-len(scenarios) // columns)
    width, height = max(columns * _PANEL[0], 5.4), lines * _PANEL[1]
    below = textwrap.wrap(caption(summary, profile, note), int(width * 18))
    top, bottom = 0.52, 0.12 + 0.15 * len(below)
    figure = Figure(figsize=(width, height + top + bottom))
    total = height + top + bottom
    figure.set_layout_engine("constrained", rect=(0.005, bottom / total, 0.985, height / total))
    figure.text(0.012, 1 - 0.08 / total, title, va="top", fontsize=12, fontweight="bold")
    figure.text(0.012, 1 - 0.32 / total, evidence(scenarios), va="top", color=GREY)
    figure.text(0.012, 0.06 / total, "\n".join(below), va="bottom", fontsize=7, color=GREY)
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes in grid[len(scenarios) :]:
        axes.set_visible(False)
    pairs = zip(grid, scenarios, strict=False)
    result = [(axes, summary[summary["scenario"] == name]) for axes, name in pairs]
    for axes, rows in result:
        _name(axes, rows)
    return figure, result


def evidence(scenarios: list[str]) -> str:
    """Whether the figure shows evidence: only real images do."""
    embedded = [name.startswith(_EMBEDDED) for name in scenarios]
    if all(embedded):
        return "embedded data: a demonstration, not evidence"
    return "embedded and real data" if any(embedded) else "real data: evidence"


def caption(summary: pd.DataFrame, profile: str, note: str) -> str:
    """The company of the numbers, in one paragraph."""
    n = sorted(set(summary["n"]))
    several, single = any(count > 1 for count in n), any(count == 1 for count in n)
    bars = ["standard error over seeds"] * several
    bars += ["binomial standard error of the test images where there is one seed"] * single
    single_scenarios = summary[summary["n_scenarios"] == 1]  # means would count them again
    failed = (single_scenarios if len(single_scenarios) else summary)["n_failed"].sum()
    images = "/".join(f"{count:,}" for count in _values(summary, "n_tune"))
    parts = [
        f"profile {profile}" if profile else "",
        ", ".join(_values(summary, "model")),
        f"{images} target images",
        f"{'-'.join(map(str, dict.fromkeys([n[0], n[-1]])))} seed{'s' * (n != [1])}",
        f"failed runs left out: {failed}" if failed else "",
        f"learning rate and epoch by {', '.join(_values(summary, 'rule'))}",
        ", ".join(_values(summary, "device")),
        "; ".join(_values(summary, "provenance")),
        f"error bars: {', '.join(bars)}" if bars else "",
        note,
    ]
    return "\u00a0· ".join(part for part in parts if part)  # lines end, not begin, with a dot


def save(figure: Figure, stem: str | Path) -> Path:
    """Write `stem.png`, the same bytes for the same figure, and return its path."""
    path = Path(f"{stem}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True, dpi=(DPI, DPI))  # leaves out matplotlib's name and version
    return path


def _values(summary: pd.DataFrame, name: str) -> list[Any]:
    return (
        [value for value in dict.fromkeys(summary[name]) if value != ""] if name in summary else []
    )


def _name(axes: Axes, rows: pd.DataFrame) -> None:
    """`cifar10-c/gaussian_noise` -> a bold `gaussian noise` and a small `cifar10-c`."""
    family, *options = rows["scenario"].iloc[0].split("/")
    if not options:
        axes.set_title(family)
        return
    mean = options[0] == "*"
    name = f"mean of {rows['n_scenarios'].max()}" if mean else options[0].replace("_", " ")
    axes.set_title(name)
    axes.set_title(
        " · ".join([family, *options[1:]]), loc="right", fontsize=7.5, color=GREY, weight=400
    )
