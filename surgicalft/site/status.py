"""How far a table of ours agrees with the paper's: computed from the numbers, never typed in."""

import math
from dataclasses import dataclass

import pandas as pd

# Our value and its standard error, in the order in which they are looked for.
COLUMNS = (("mean", "standard_error"), ("accuracy", "accuracy_error"), ("difference", "error"))
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


def agreement(frame: pd.DataFrame, source: str = "") -> Agreement | None:
    """What a table says of the paper's numbers; None where no row has both.

    source: what `paper_source` begins with in the rows that count.
    Raises ValueError where there is a column `paper` but none of ours to go with it.
    """
    if "paper" not in frame:
        return None
    value, error = _columns(frame)
    rows = frame[frame["paper"].notna() & frame[value].notna()]
    if source:
        rows = rows[rows["paper_source"].astype(str).str.startswith(source)]
    if rows.empty:
        return None
    difference = rows[value] - rows["paper"]
    squares = _errors(rows, error) ** 2 + _errors(rows, "paper_error") ** 2
    within = difference.abs() <= WITHIN * squares**0.5  # False where an error is not known
    return Agreement(
        compared=len(rows),
        judged=int(squares.notna().sum()),
        within=int(within.sum()),
        difference=float(difference.mean()),
        spearman=_spearman(rows[value], rows["paper"]),
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
