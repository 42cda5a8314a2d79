"""The paper's claim on which block to tune, put to the test on our records."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from surgicalft.report.tables import paired_difference, selection_key, summary
from surgicalft.shifts import get_scenario
from surgicalft.sweep.record import Record

EXPECTED = {  # section 2.1: the block that the kind of shift points to
    "input": ("block 1",),
    "feature": ("block 2", "block 3"),  # of ResNet-50 and of four groups of a transformer, too
    "output": ("last",),
    "natural": (),
    "none": (),  # a planted shift is in the network
}
ERRORS = 2.0  # a difference counts from this many standard errors on


def best_block(
    records: Sequence[Record], rule: str = "target_valid", by: Sequence[str] = ("scenario",)
) -> pd.DataFrame:
    """For each combination of the settings `by`: the single block chosen, and its lead over tuning all.

    The block is chosen as the paper's "Cross-Val" does, by the mean over seeds of the validation accuracy;
    test data choose nothing. `position` counts it from the input, `block accuracy` is its own (%).
    `difference` (points) is paired by seed, `error` its uncertainty: the larger of the standard error over
    seeds and the binomial error of the finite test split. `verdict` is "block wins", "all wins" or "level"
    at 2 errors; `as the paper` says whether the block is one that the shift's kind points to (None for
    natural shifts and clean targets, of which it has no rule).
    """
    cases: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        cases.setdefault(tuple(record.settings[name] for name in by), []).append(record)
    return pd.DataFrame(
        [dict(zip(by, case, strict=True)) | _row(own, rule) for case, own in cases.items()]
    )


def _row(own: Sequence[Record], rule: str) -> dict[str, object]:
    kind = get_scenario(own[0].settings["scenario"]).kind
    valid = validation_means(own)
    block = max((name for name in valid if name not in ("all", "none")), key=valid.__getitem__)
    row = paired_difference(own, block, "all", rule=rule).iloc[0]
    error = np.fmax(row["standard_error"], row["binomial_error"])  # the former is NaN for one seed
    return {
        "kind": kind,
        "chosen block": block,
        "position": list(valid).index(block) + 1,
        "block accuracy": _accuracy(own, block, rule),
        "difference": row["mean"],
        "error": error,
        "n": row["n"],
        "verdict": verdict(row["mean"], error),
        "as the paper": block in EXPECTED[kind] if EXPECTED[kind] else None,
    }


def _accuracy(records: Sequence[Record], selection: str, rule: str) -> float:
    """Mean over seeds of the test accuracy of one selection."""
    table = summary(records, rule=rule)
    return float(table.loc[table["selection"] == selection, "mean"].iloc[0])


def validation_means(records: Sequence[Record]) -> dict[str, float]:
    """Selection -> mean over seeds of the best validation accuracy (%) over the learning rates."""
    best: dict[tuple[str, int], float] = {}
    for record in records:
        if record.valid_accuracy is not None:
            key = (record.settings["selection"], record.settings["seed"])
            best[key] = max(best.get(key, 0.0), record.valid_accuracy)
    means = pd.Series(best).groupby(level=0).mean()
    return {name: means[name] for name in sorted(means.index, key=selection_key)}


def verdict(difference: float, error: float) -> str:
    """Who wins by more than two errors."""
    if abs(difference) <= ERRORS * error:
        return "level"
    return "block wins" if difference > 0 else "all wins"
