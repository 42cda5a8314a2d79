"""Means as a table to read: settings down and across, cells `82.8 ± 0.6`, the best marked."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from surgicalft.export.columns import check_names, differing, groups, key, order, telling_apart
from surgicalft.settings import check_choice

BEST = ("highest", "lowest", "none")
COMPARED = ("selection", "method", "variant")
MEAN_COLUMNS = (
    "metric", "mean", "standard_error", "n", "seeds", "n_failed", "n_test", "rule",
    "learning_rates", "strengths", "device", "provenance",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One mean, with its standard error (NaN of one run), how many runs failed, and whether it is marked as best."""

    mean: float
    error: float
    n: int
    n_failed: int
    best: bool = False


@dataclass(frozen=True)
class Pivot:
    """`cells[i][j]` is the mean of `row_values[i]`, `column_values[j]`; None where there is none.

    Without `columns_by` there is one column of cells, and no column value.
    """

    rows: tuple[str, ...]  # names of the settings down
    columns_by: str | None  # name of the setting across
    row_values: list[tuple[Any, ...]]
    column_values: list[Any]
    cells: list[list[Cell | None]]
    compared: tuple[str, ...]  # names of the settings that the best is the best of


def setting_columns(means: pd.DataFrame) -> list[str]:
    """The columns of a table of `mean_over` that are settings."""
    return [name for name in means if name not in MEAN_COLUMNS]


def pivot(
    means: pd.DataFrame,
    rows: Sequence[str] = (),
    columns_by: str | None = None,
    best: str = "highest",
    compare: Sequence[str] = (),
) -> Pivot:
    """Means by the settings `rows` down and `columns_by` across, sorted; the default of `rows`: what tells means apart.

    means: of `mean_over`. Marked as best are the highest mean (`best`: or "lowest", "none") of those that differ in the
    settings `compare` only, and what lies within its standard error of it, where there are two or more. The default of
    `compare`: selection, method and variant, if they are there, or else the last of `rows`.
    Raises ValueError for an unknown name, and where settings not named differ, since two means would share a cell.
    """
    check_choice("best", best, BEST)
    if means.empty:
        raise ValueError("there are no means to tabulate")
    legal = setting_columns(means)
    across = [columns_by] if columns_by else []
    check_names("setting", [*rows, *across], legal)
    if columns_by in rows:
        raise ValueError(f"{columns_by!r} can't stand both down and across")
    down = list(rows) or telling_apart(means, legal, across) or legal[:1]
    named = [*down, *across]
    compare = list(compare) or [n for n in COMPARED if n in named] or down[-1:]
    check_names("setting to compare", compare, named)
    _check_single(means, named, legal)
    found = {
        (_keys(row[n] for n in down), _keys(row[n] for n in across)): _cell(row)
        for row in means.to_dict("records")
    }
    row_values, column_values = _values(means, down), _values(means, across)
    cells = [[found.get((_keys(r), _keys(c))) for c in column_values] for r in row_values]
    if best != "none":
        others = [i for i, name in enumerate(named) if name not in compare]
        places = [_keys((*r, *c)[i] for i in others) for r in row_values for c in column_values]
        _mark(cells, places, 1 if best == "highest" else -1)
    return Pivot(
        tuple(down),
        columns_by,
        row_values,
        [c[0] for c in column_values if c],
        cells,
        tuple(compare),
    )


def _check_single(means: pd.DataFrame, named: list[str], legal: list[str]) -> None:
    for _, same in groups(means, named):
        if len(same) > 1:
            which = ", ".join(f"{name} {same[name].iloc[0]}" for name in named)
            other = differing(same, [name for name in legal if name not in named])
            raise ValueError(
                f"{len(same)} means share the cell of {which}: they also differ in {other}. Add these to the rows, "
                f"or keep one value of each by a condition"
            )


def _values(means: pd.DataFrame, names: list[str]) -> list[tuple[Any, ...]]:
    """The combinations that there are, sorted; the empty one where there are no names."""
    found = {_keys(row[n] for n in names): row for row in means.to_dict("records")}
    rows = [tuple(row[name] for name in names) for row in found.values()]
    return sorted(rows, key=lambda row: [order(value) for value in row])


def _keys(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(map(key, values))


def _cell(row: dict[str, Any]) -> Cell:
    return Cell(row["mean"], row["standard_error"], row["n"], row["n_failed"])


def _mark(cells: list[list[Cell | None]], places: list[tuple[Any, ...]], sign: int) -> None:
    """Mark the best among the cells with equal `places`, which are in the order of rows, then columns."""
    width = len(cells[0])
    compared: dict[tuple[Any, ...], list[int]] = {}
    for i, place in enumerate(places):
        cell = cells[i // width][i % width]
        if cell is not None and not math.isnan(cell.mean):
            compared.setdefault(place, []).append(i)
    for where in compared.values():
        found = {i: cell for i in where if (cell := cells[i // width][i % width])}
        for i in _best(found, sign):
            cells[i // width][i % width] = replace(found[i], best=True)


def _best(compared: dict[int, Cell], sign: int) -> list[int]:
    """The best and what lies within its standard error of it; none where nothing is compared."""
    if len(compared) < 2:
        return []
    top = max(compared.values(), key=lambda cell: sign * cell.mean)
    margin = 0.0 if math.isnan(top.error) else top.error
    return [i for i, cell in compared.items() if sign * (top.mean - cell.mean) <= margin]
