"""Tables as text: cells as people read them, and lines that fit a terminal."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from surgicalft.export.columns import is_absent
from surgicalft.export.pivot import Cell, Pivot
from surgicalft.report.markdown import uncertain

LONGEST = 60  # characters of a cell in a terminal
_GAP = "  "


def text(value: Any) -> str:
    """A cell: numbers to four digits, whole ones whole; a dash for what is absent."""
    if isinstance(value, tuple):
        return ", ".join(map(text, value)) or "-"
    if is_absent(value):
        return "-"
    if type(value).__name__ in ("bool", "bool_"):
        return str(bool(value)).lower()
    if isinstance(value, float) and math.isfinite(value):
        if abs(value) >= 1000 or value == int(value):
            return f"{value:.0f}"
        return f"{value:.4g}"
    return " ".join(str(value).split()) or "-"


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """A table's cells as text, the standard error beside its mean."""
    columns = {name: list(map(text, frame[name])) for name in frame}
    if "mean" in frame and columns.pop("standard_error", []):
        pairs = zip(frame["mean"], frame["standard_error"], strict=True)
        columns["mean"] = [uncertain(*pair) for pair in pairs]
    return pd.DataFrame(columns, dtype=object)


def pivot_texts(table: Pivot, best: str = "{} *") -> pd.DataFrame:
    """A pivot's cells as text, `best` being how the best ones are written."""
    across = [text(value) for value in table.column_values] or ["mean"]
    rows = [
        [*map(text, values), *(cell_text(cell, best) for cell in cells)]
        for values, cells in zip(table.row_values, table.cells, strict=True)
    ]
    return pd.DataFrame(rows, columns=[*table.rows, *across], dtype=object)


def cell_text(cell: Cell | None, best: str) -> str:
    """`82.8 ± 0.6`, `†` where some of its runs failed, `failed` where all did, a dash where there were none."""
    if cell is None:
        return "-"
    if cell.n == 0:
        return "failed"
    own = uncertain(cell.mean, cell.error) + "†" * (cell.n_failed > 0)
    return best.format(own) if cell.best else own


def lines(
    cells: pd.DataFrame, width: int | None = None, droppable: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """The lines of a table of texts, and the columns left out to fit it into `width` characters.

    Of the columns `droppable` the last ones are left out first; long cells are cut where there is a width.
    """
    shown = {name: [str(name), *map(_cut if width else str, cells[name])] for name in cells}
    dropped: list[str] = []
    for name in reversed(droppable):
        if width is None or _width(shown) <= width:
            break
        del shown[name]
        dropped.insert(0, name)
    columns = [_aligned(column) for column in shown.values()]
    return [_GAP.join(row).rstrip() for row in zip(*columns, strict=True)], dropped


def _cut(cell: str) -> str:
    return cell if len(cell) <= LONGEST else cell[: LONGEST - 1] + "…"


def _width(shown: dict[str, list[str]]) -> int:
    return sum(max(map(len, column)) for column in shown.values()) + len(_GAP) * (len(shown) - 1)


def _aligned(column: list[str]) -> list[str]:
    """Numbers to the right, texts to the left."""
    size = max(map(len, column))
    numeric = all(cell[:1].isdigit() or cell[:1] in "-." or cell == "failed" for cell in column[1:])
    return [cell.rjust(size) if numeric else cell.ljust(size) for cell in column]
