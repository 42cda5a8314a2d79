"""What the columns of a table of records are, and which of them names or patterns mean."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from surgicalft.report.tables import selection_key

ORIGIN = ("id", "provenance", "device", "created")  # known without looking at what came out
OUTCOME = (
    "status",
    "error",
    "epoch",
    "valid_accuracy",
    "valid_loss",
    "test_accuracy",
    "n_test",
    "wall_time",
)
_GROUPS = {
    "metrics.": "outcome",
    "choice.": "outcome",
    "versions.": "origin",
}  # what such names are


def setting_names(frame: pd.DataFrame) -> list[str]:
    """The columns of a table of records (surgicalft.sweep.frame) that are settings."""
    return [name for name in frame if name not in (*ORIGIN, *OUTCOME) and not _group(name)]


def is_outcome(name: str) -> bool:
    """Whether a column says what came out of a run, so that filtering by it chooses among results."""
    return name in OUTCOME or _group(name) == "outcome"


def differing(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Those of the columns that hold several values; absent counts as one."""
    return [name for name in names if frame[name].map(key).nunique() > 1]


def telling_apart(
    frame: pd.DataFrame, names: Iterable[str], given: Sequence[str] = ()
) -> list[str]:
    """Those of the columns that tell rows apart which `given` and the ones before leave alike."""
    found: list[str] = []
    n = len(groups(frame, given))
    for name in names:
        more = len(groups(frame, [*given, *found, name]))
        if more > n:
            found, n = [*found, name], more
    return found


def shared(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, object]:
    """What all rows have in common: the columns that hold one value, and are not empty."""
    alike = [n for n in names if len(frame) and frame[n].map(key).nunique() == 1]
    return {n: frame[n].iloc[0] for n in alike if not is_absent(frame[n].iloc[0])}


def is_absent(value: object) -> bool:
    """Whether a cell holds nothing: None, NaN, <NA> or an empty text."""
    return (
        value is None
        or value is pd.NA
        or value == ""
        or (isinstance(value, float) and value != value)
    )


def key(value: object) -> tuple[int, float, str]:
    """Tells values of any types apart and sorts them: numbers, then texts, then what is absent."""
    if is_absent(value):
        return 2, 0.0, ""
    if isinstance(value, int | float) or hasattr(value, "__float__"):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def order(value: object) -> tuple[Any, ...]:
    """Sorts values of any types: numbers; texts as the network does (block 2, block 10, last); what is absent."""
    kind, number, text = key(value)
    return kind, number, selection_key(text)


def sort(frame: pd.DataFrame, names: Sequence[str], descending: bool = False) -> pd.DataFrame:
    """The rows in the `order` of the columns `names`, the first one leading; what is absent comes last either way.

    Raises ValueError for a name that is no column.
    """
    check_names("column to sort by", names, list(frame))
    rows = list(range(len(frame)))
    for name in reversed(names):
        values = frame[name].tolist()
        rows.sort(key=lambda row: order(values[row]), reverse=descending)
        rows.sort(key=lambda row: is_absent(values[row]))
    return frame.iloc[rows]


def groups(frame: pd.DataFrame, names: Sequence[str]) -> list[tuple[Any, pd.DataFrame]]:
    """Rows alike in `names`, in order of appearance, with the keys they share; absent is a value, and 1 is 1.0."""
    found: dict[Any, list[int]] = {}
    columns = [frame[name].map(key).tolist() for name in names]
    for i in range(len(frame)):
        found.setdefault(tuple(column[i] for column in columns), []).append(i)
    return [(keys, frame.iloc[where]) for keys, where in found.items()]


def check_names(what: str, names: Iterable[str], legal: Sequence[str]) -> None:
    """ValueError for a name that is not there: near ones first, then all."""
    for name in names:
        if name not in legal:
            near = [n for n in legal if n.endswith(f".{name}")]
            near += [n for n in difflib.get_close_matches(name, legal) if n not in near]
            hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise ValueError(f"unknown {what} {name!r}; {hint}legal: {', '.join(legal)}")


def expand(patterns: Iterable[str], legal: Sequence[str]) -> list[str]:
    """The columns that names or shell patterns (`pretrain.*`) mean, in the order asked for.

    Raises ValueError for what matches none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in legal if name == pattern or fnmatchcase(name, pattern)]
        check_names("column", [] if matching else [pattern], legal)
        found |= dict.fromkeys(matching)
    return list(found)


def _group(name: str) -> str | None:
    return next((kind for prefix, kind in _GROUPS.items() if name.startswith(prefix)), None)
