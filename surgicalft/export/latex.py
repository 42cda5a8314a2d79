r"""Means as a LaTeX table in the style of papers: booktabs' rules, mean ± standard error, the best in bold.

It asks for \usepackage{booktabs} and nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from surgicalft.export.escape import beyond_pdflatex, escape, one_line
from surgicalft.export.notes import notes
from surgicalft.export.pivot import Cell, Pivot, pivot
from surgicalft.export.plain import text
from surgicalft.report.markdown import uncertain


def latex(
    means: pd.DataFrame,
    rows: Sequence[str] = (),
    columns_by: str | None = None,
    *,
    best: str = "highest",
    compare: Sequence[str] = (),
    caption: str = "",
    label: str = "tab:results",
    company: Mapping[str, Any] | None = None,
) -> str:
    r"""A `table` environment of the means of `mean_over`, to be read by \input.

    rows, columns_by, best, compare: as for surgicalft.export.pivot. Cells hold mean ± standard error (of one run the
    value alone), `†` where some of its runs failed, `failed` where all did. `caption`, plain text, comes before the
    sentences that say what the means are of and what is bold. `company` (store, rule, versions, ...; see
    surgicalft.report.tables.company) goes into comments at the top, with the date.
    Raises ValueError as `pivot` does.
    """
    table = pivot(means, rows, columns_by, best, compare)
    said = notes(means, table, "Bold")
    cells = _cells(table)
    body = cells.style.hide(axis="index").to_latex(
        hrules=True,
        caption=escape(" ".join([*([caption] if caption else []), *said])),
        label=_label(label),
        position="tbp",
        position_float="centering",
        column_format="l" * len(table.rows) + "r" * len(table.cells[0]),
        multicol_align="c",
    )
    return "".join(f"% {line}\n" for line in _comments(said, dict(company or {}), body)) + body


def _cells(table: Pivot) -> pd.DataFrame:
    """The cells as LaTeX; what leads a row stands once, and a rule goes between what it leads."""
    body: list[list[str]] = []
    before: tuple[Any, ...] = ()
    for values, cells in zip(table.row_values, table.cells, strict=True):
        leading, names = values[:-1], [escape(text(value)) for value in values]
        if leading and leading == before:
            names[:-1] = [""] * len(leading)
        elif before:
            names[0] = "\\midrule\n" + names[0]
        before = leading
        body.append([*names, *map(_cell, cells)])
    return pd.DataFrame(body, columns=_header(table))


def _header(table: Pivot) -> pd.Index:
    down = [escape(name) for name in table.rows]
    if table.columns_by is None:
        return pd.Index([*down, "mean"])
    across = [escape(text(value)) for value in table.column_values]
    pairs = [*(("", name) for name in down), *((escape(table.columns_by), name) for name in across)]
    return pd.MultiIndex.from_tuples(pairs)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    if cell.n == 0:
        return "failed"
    mean, _, error = uncertain(cell.mean, cell.error).partition(" ± ")
    own = rf"\textbf{{{mean}}}" if cell.best else mean
    own += rf" {{\small$\pm$ {error}}}" if error not in ("", "-") else ""
    return own + r"$^\dagger$" * (cell.n_failed > 0)


def _label(label: str) -> str:
    """A label as LaTeX takes it; ValueError for characters that would end it."""
    if not label or set(label) & set("{}\\%#~^$&") or one_line(label) != label:
        raise ValueError(f"a label is letters, digits and : - _ ., not {label!r}")
    return label


def _comments(said: list[str], company: dict[str, Any], body: str) -> list[str]:
    from surgicalft import __version__

    date = datetime.now(UTC).date().isoformat()
    odd = "".join(sorted(beyond_pdflatex(body)))
    return [
        f"made by surgicalft {__version__} on {date}; needs \\usepackage{{booktabs}}",
        *([f"has {odd}, which pdfLaTeX does not know: use XeLaTeX or LuaLaTeX"] if odd else []),
        *map(one_line, said),
        *(one_line(f"{name}: {_note(value)}") for name, value in company.items()),
    ]


def _note(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_note(item)}" for name, item in value.items())
    return ", ".join(map(_note, value)) if isinstance(value, list | tuple) else str(value)
