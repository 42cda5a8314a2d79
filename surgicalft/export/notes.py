"""What a reader of a table of means has to know, as sentences."""

import pandas as pd

from surgicalft.export.means import RULE_NOTES
from surgicalft.export.pivot import Pivot

TITLES = {
    "test_accuracy": "Test accuracy (%)",
    "valid_accuracy": "Validation accuracy (%)",
    "valid_loss": "Validation loss",
    "metrics.worst_group": "Accuracy of the worst group (%)",
    "wall_time": "Wall time (s)",
}


def notes(means: pd.DataFrame, table: Pivot | None = None, marked: str = "") -> list[str]:
    """Of a table of `mean_over`: what the means are of, how learning rates were chosen, what failed.

    `marked`: how the best of the pivot `table` are marked, such as "Bold".
    """
    found = [f"{_metric(means)}: mean ± standard error over {_counts(means)}."]
    if "rule" in means:
        rules = [RULE_NOTES.get(rule, rule) for rule in dict.fromkeys(means["rule"])]
        found.append(f"Learning rates chosen by {', '.join(rules)}.")
    if table and any(cell and cell.best for row in table.cells for cell in row):
        compared = " and ".join(table.compared)
        found.append(f"{marked}: the best {compared}, and what lies within its standard error.")
    if failed := int(means["n_failed"].sum()):
        sign = " (†)" if table else ""
        found.append(f"{failed} failed run{'s' * (failed > 1)}{sign}, left out of the means.")
    return found


def _metric(means: pd.DataFrame) -> str:
    return ", ".join(TITLES.get(name, name) for name in dict.fromkeys(means["metric"]))


def _counts(means: pd.DataFrame) -> str:
    """`n = 2 seeds (0, 1)`, `n = 1 to 3 seeds (0, 1, 2)`."""
    low, high = int(means["n"].min()), int(means["n"].max())
    seeds = dict.fromkeys(seed for row in means["seeds"] for seed in row)
    number = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {number} seed{'s' * (high != 1)} ({', '.join(sorted(map(str, seeds)))})"
