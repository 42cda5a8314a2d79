"""Tables as files, by the suffix of their names: to compute with (.csv, .parquet, .json) or to read (.md, .tex)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from surgicalft.export.columns import is_absent
from surgicalft.export.notes import notes
from surgicalft.export.pivot import Pivot
from surgicalft.export.plain import pivot_texts, texts
from surgicalft.report.markdown import markdown
from surgicalft.settings import check_choice
from surgicalft.sweep.frame import write_frame

DATA = (".csv", ".parquet", ".json")
TO_READ = (".md", ".tex")


def write_data(frame: pd.DataFrame, path: str | Path) -> None:
    """Write every digit of a table to a .csv, .parquet or .json file (a list of rows); its folder is made.

    In CSV several values of a cell, such as seeds, are parted by spaces; in JSON what is absent is null and infinity
    the text "Infinity", as in the store.
    Raises ValueError for another suffix.
    """
    path = Path(path)
    check_choice("the suffix of a table to compute with", path.suffix, DATA)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        rows = [{name: _json(v) for name, v in row.items()} for row in frame.to_dict("records")]
        path.write_text(
            json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        return
    plain = frame.copy()
    for name in plain.select_dtypes("object"):
        if plain[name].map(type).eq(tuple).any():
            plain[name] = _several(plain[name], as_text=path.suffix == ".csv")
    write_frame(lambda: plain, path)


def markdown_table(
    frame: pd.DataFrame, company: Mapping[str, Any], table: Pivot | None = None
) -> str:
    """A GitHub table: of `table`, the pivot of the means `frame`, or else of all rows; the company below it."""
    if table is None:
        own = [name for name in ("learning_rates",) if name in frame]  # counted by `markdown`
        return markdown(texts(frame).assign(**{name: frame[name] for name in own}), dict(company))
    said = notes(frame, table, "Bold")
    return markdown(pivot_texts(table, "**{}**"), {"means": " ".join(said), **company})


def write_text(text: str, path: str | Path) -> None:
    """Write a text as UTF-8; its folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _several(column: pd.Series, as_text: bool) -> list[Any]:
    """Cells of several values as one text, or as lists, which hold one type in Parquet."""
    if as_text:
        return [" ".join(map(str, cell)) for cell in column]
    mixed = len({type(value) for cell in column for value in cell}) > 1
    return [tuple(map(str, cell)) if mixed else cell for cell in column]


def _json(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if value != "" and is_absent(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value.item() if hasattr(value, "item") else value
