"""A table of results on a terminal: what differs as columns, what is alike in a line below."""

import textwrap
from collections.abc import Sequence

import pandas as pd

from surgicalft.export.columns import differing, setting_names, shared
from surgicalft.export.notes import notes
from surgicalft.export.pivot import Pivot, setting_columns
from surgicalft.export.plain import lines, pivot_texts, text, texts

_MEANS = ("mean", "standard_error", "n", "seeds", "learning_rates")
_RECORDS = ("test_accuracy", "n_test", "status")
_ALSO = ("device", "provenance")  # worth a line where all rows share it, a column where asked for


def settings_of(frame: pd.DataFrame) -> list[str]:
    """The settings among the columns of a table of records or of means."""
    return setting_columns(frame) if "mean" in frame else setting_names(frame)


def default_columns(frame: pd.DataFrame) -> list[str]:
    """The settings that differ, nested ones last, then what came out; errors and failed runs where there are any."""
    outcome = [n for n in (_MEANS if "mean" in frame else _RECORDS) if n in frame]
    counts = [n for n in ("n_failed", "choice.failed") if n in frame and frame[n].sum() > 0]
    errors = ["error"] if "error" in frame and (frame["error"] != "").any() else []
    settings = sorted(differing(frame, settings_of(frame)), key=lambda name: "." in name)
    return [*settings, *outcome, *counts, *errors]


def view(
    frame: pd.DataFrame, columns: Sequence[str] = (), width: int | None = None, limit: int = 0
) -> str:
    """The table as text: `columns`, or those of `default_columns` as far as they fit into `width` characters.

    At most `limit` rows, 0 for all; what is not shown is said below, and so is what all rows share.
    """
    chosen = list(columns) or default_columns(frame)
    droppable = [] if columns else [name for name in chosen if name in settings_of(frame)]
    if "mean" in chosen and "standard_error" not in chosen:
        chosen.append("standard_error")  # beside its mean
    rows = frame[chosen].head(limit or len(frame))
    table, dropped = lines(texts(rows), width, droppable)
    below = _rows(frame, len(rows))
    if dropped:
        below.append(f"left out for want of width: {', '.join(dropped)}")
    if not columns:
        alike = shared(frame, [*settings_of(frame), *(n for n in _ALSO if n in frame)])
        below += [f"the same in all: {_named(alike)}"] if alike and len(frame) > 1 else []
    if "mean" in frame and len(frame):
        below += notes(frame)
    return "\n".join([*table, "", *_wrapped(below, width)])


def view_pivot(means: pd.DataFrame, table: Pivot, width: int | None = None) -> str:
    """A pivot as text, with what its means are of; it is never cut."""
    rows, _ = lines(pivot_texts(table))
    return "\n".join([*rows, "", *_wrapped(notes(means, table, "*"), width)])


def _rows(frame: pd.DataFrame, shown: int) -> list[str]:
    what = "mean" if "mean" in frame else "run"
    number = f"{len(frame)} {what}{'s' * (len(frame) != 1)}"
    return [number if shown == len(frame) else f"{number}, of which {shown} are shown"]


def _named(values: dict[str, object]) -> str:
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def _wrapped(sentences: list[str], width: int | None) -> list[str]:
    return [
        line for text in sentences for line in (textwrap.wrap(text, width) if width else [text])
    ]
