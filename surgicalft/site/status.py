"""How far a table of ours agrees with the paper's: computed from the numbers, never typed in."""

import math
from dataclasses import dataclass

import pandas as pd

# Our value and its standard error, in the order in which they are looked for.
COLUMNS = (("mean", "standard_error"), ("accuracy", "accuracy_error"), ("difference", "error"))
OPTIONS = ("option", "name", "selection")  # what was tuned, the first that a table has
WHERE = ("model", "damaged", "scenario")
WITHIN = 2.0  # standard errors of the difference


@dataclass(frozen=True)
class Agreement:
    """Ours beside the paper's, over the `compared` rows that have both.

    `judged` of them have a standard error on both sides, and `within` of these differ by at most two standard errors of
    the difference, sqrt(ours^2 + paper's^2). `difference` is the mean of ours minus the paper's, `spearman` the rank
    correlation, None below three rows or where one side is all ties.
    """

    compared: int
    judged: int
    within: int
    difference: float
    spearman: float | None

    @property
    def sentence(self) -> str:
        """What was found, as the report says it."""
        several = "number" if self.compared == 1 else "numbers"
        parts = [f"{self.compared} {several} beside the paper's"]
        if self.judged:
            parts.append(f"{self.within} of {self.judged} within 2 standard errors")
        else:
            parts.append("no standard errors to judge by")
        parts.append(f"mean difference {self.difference:+.1f}")
        if self.spearman is not None:
            parts.append(f"rank correlation {self.spearman:+.2f}")
        return ", ".join(parts)


def beside(frame: pd.DataFrame, source: str = "", means: bool = False) -> pd.DataFrame:
    """The rows that have a number of ours and one of the paper's: name, ours, error, paper, paper_error.

    name: what tells a row from the others. source: what `paper_source` begins with in the rows that count.
    means: only the rows over several scenarios; elsewhere these come first.
    Raises ValueError where there is a column `paper` but none of ours to go with it.
    """
    if "paper" not in frame:
        return pd.DataFrame(columns=["name", "ours", "error", "paper", "paper_error"])
    value, error = _columns(frame)
    rows = frame[frame["paper"].notna() & frame[value].notna()]
    if source:
        rows = rows[rows["paper_source"].astype(str).str.startswith(source)]
    several = (
        rows["scenario"].str.endswith("/*") if "scenario" in rows else pd.Series(False, rows.index)
    )
    rows = rows[several] if means else pd.concat([rows[several], rows[~several]])
    return pd.DataFrame(
        {
            "name": _names(rows),
            "ours": rows[value],
            "error": _errors(rows, error),
            "paper": rows["paper"],
            "paper_error": _errors(rows, "paper_error"),
        }
    )


def agreement(rows: pd.DataFrame) -> Agreement | None:
    """What rows of `beside` say; None without any."""
    if rows.empty:
        return None
    difference = rows["ours"] - rows["paper"]
    squares = rows["error"] ** 2 + rows["paper_error"] ** 2
    within = difference.abs() <= WITHIN * squares**0.5  # False where an error is not known
    return Agreement(
        compared=len(rows),
        judged=int(squares.notna().sum()),
        within=int(within.sum()),
        difference=float(difference.mean()),
        spearman=_spearman(rows["ours"], rows["paper"]),
    )


def _names(rows: pd.DataFrame) -> pd.Series:
    """The values of the columns in which these rows differ."""
    option = next((name for name in OPTIONS if name in rows), None)
    told = [n for n in WHERE if n in rows and rows[n].nunique() > 1] + ([option] if option else [])
    if "optimizer" in rows and rows.duplicated(told).any():
        told.append("optimizer")
    return pd.Series(
        [", ".join(map(str, row)) for row in rows[told].to_numpy()], rows.index, dtype=object
    )


def _columns(frame: pd.DataFrame) -> tuple[str, str]:
    for value, error in COLUMNS:
        if value in frame:
            return value, error
    legal = [value for value, _ in COLUMNS]
    raise ValueError(f"a table with `paper` needs one of {legal}, not {list(frame)}")


def _errors(rows: pd.DataFrame, name: str) -> pd.Series:
    return rows[name] if name in rows else pd.Series(math.nan, rows.index)


def _spearman(ours: pd.Series, paper: pd.Series) -> float | None:
    if len(ours) < 3 or ours.nunique() == 1 or paper.nunique() == 1:
        return None
    return float(ours.rank().corr(paper.rank()))
