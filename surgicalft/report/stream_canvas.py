"""What the figures of test-time adaptation share: title, evidence, what is cut short, panels, caption and legend."""

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surgicalft.report.stream_rows import UNCHANGED, title
from surgicalft.report.style import GREY, evidence

SMALL = 7.5  # points


def canvas(
    heading: str, count: int, across: int, size: tuple[float, float], table: pd.DataFrame, text: str
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of `size` (inches), `across` beside each other; `text` is its caption.

    table: with `scenario` and `stream`, which say below the title whether this is evidence, and of how long a stream.
    """
    lines = -(-count // across)
    width, height = max(across * size[0] + 0.9, 7.2), lines * size[1]
    below = textwrap.wrap(text, int(width * 18))
    top, bottom = 0.74, 0.12 + 0.15 * len(below)
    total = height + top + bottom
    figure = Figure(figsize=(width, total))
    rect = (0.005, bottom / total, 0.985, height / total)
    figure.set_layout_engine("constrained", rect=rect, w_pad=0.07)
    figure.text(0.012, 1 - 0.08 / total, heading, va="top", fontsize=12, fontweight="bold")
    known = [evidence(list(dict.fromkeys(table["scenario"]))), _cut_short(table)]
    status = " · ".join(filter(None, known))
    figure.text(0.012, 1 - 0.32 / total, status, va="top", color=GREY)
    figure.text(0.012, 0.06 / total, "\n".join(below), va="bottom", fontsize=7, color=GREY)
    grid = list(figure.subplots(lines, across, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def caption(table: pd.DataFrame, profile: str, *notes: str) -> str:
    """The company of the numbers, in one paragraph."""
    seeds = int(table["n"].max())
    own = table[~table["scenario"].str.contains("*", regex=False)]
    failed = own.drop_duplicates(["name", "scenario"])["n_failed"].sum()
    streams = "/".join(f"{n:,}" for n in sorted(set(own.loc[own["n_test"] > 0, "n_test"])))
    parts = [
        f"profile {profile}" if profile else "",
        ", ".join(dict.fromkeys(table["model"])),
        f"streams of {streams} images",
        f"{seeds} seed{'s' * (seeds != 1)}",
        f"failed runs left out: {failed}" if failed else "",
        ", ".join(name for name in dict.fromkeys(table["device"]) if name),
        "; ".join(name for name in dict.fromkeys(own["provenance"]) if name),
        *notes,
    ]
    return "\u00a0· ".join(part for part in parts if part)  # lines end, not begin, with a dot


def place_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """In a line of its own, above the panels; nothing where there is nothing to tell."""
    if handles:
        place = (0.995, 1 - 0.44 / figure.get_figheight())
        options: dict[str, Any] = {"frameon": False, "fontsize": SMALL, "handletextpad": 0.4}
        figure.legend(
            handles=list(handles), loc="upper right", bbox_to_anchor=place, ncols=6, **options
        )


def name_panel(axes: Axes, scenario: str) -> None:
    """A bold `fog` and a small `cifar10-c`."""
    axes.set_title(title(scenario))
    if "/" in scenario:
        options: dict[str, Any] = {"fontsize": SMALL, "color": GREY, "weight": 400}
        axes.set_title(scenario.split("/")[0], loc="right", **options)


def modes(rows: pd.DataFrame) -> list[str]:
    """The modes that there are, but for no adaptation, which has none."""
    return [mode for mode in dict.fromkeys(rows["mode"]) if mode != UNCHANGED.mode]


def check_once(table: pd.DataFrame, by: list[str]) -> None:
    """ValueError where there is nothing to draw, or a row is there twice."""
    if table.empty:
        raise ValueError("the table is empty, so there is nothing to draw")
    twice = table[table.duplicated(by)]
    if len(twice):
        models = list(dict.fromkeys(table["model"]))
        raise ValueError(f"{dict(twice.iloc[0][by])} is there twice; keep one model of {models}")


def _cut_short(table: pd.DataFrame) -> str:
    short = [text for text in dict.fromkeys(table["stream"]) if " of " in text]
    return f"stream cut short: {', '.join(short)} images" if short else ""
