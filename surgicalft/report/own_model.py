"""What the runs on a user's own network say: a table, which selection to tune, and what kind of shift that suggests.

Validation images choose everything: the epoch, the learning rate, the selection. Test images say how sure it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from surgicalft.blocks import Blocks
from surgicalft.report.claims import verdict
from surgicalft.sweep.record import Record
from surgicalft.sweep.rules import candidates, choose

RULE = "target_valid"
UNCLEAR = "unclear"
LONGEST = 300  # characters of a reason in a sentence


@dataclass(frozen=True)
class Difference:
    """Mean of one accuracy minus another (points) and its error; NaN where they have no seed in common."""

    mean: float
    error: float

    @property
    def verdict(self) -> str:
        """ "ahead", "behind" or "level", at two errors; "" where there is nothing to compare."""
        words = {"block wins": "ahead", "all wins": "behind", "level": "level"}
        return "" if math.isnan(self.mean) else words[verdict(self.mean, self.error)]

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.error:.1f} points"


def chosen_runs(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each selection and seed: the finished run at the learning rate of the highest validation accuracy."""
    finished = [record for record in records if record.status == "finished"]
    best = [choose(group, RULE) for group in candidates(finished)]
    columns = ("valid_accuracy", "valid_loss", "test_accuracy", "n_test", "wall_time", "id")
    rows = [{name: getattr(record, name) for name in columns} for record in best]
    for row, record in zip(rows, best, strict=True):
        row |= {n: record.settings[n] for n in ("selection", "seed", "learning_rate")}
        row["forward_passes"] = record.metrics["forward_passes"]
    return pd.DataFrame(rows)


def difference(runs: pd.DataFrame, a: str, b: str) -> Difference:
    """Test accuracy of selection `a` minus that of `b` in `chosen_runs`, paired by seed.

    The error is the larger of the standard error over seeds (sd / sqrt(n), ddof = 1) and the binomial error of the test
    images, sqrt((p_a (100 - p_a) + p_b (100 - p_b)) / n_test), which takes the two as independent: rather too large.
    """
    one, other = (runs[runs["selection"] == name].set_index("seed") for name in (a, b))
    pairs = one.join(other, how="inner", rsuffix="_b")
    gaps = pairs["test_accuracy"] - pairs["test_accuracy_b"]
    variances = (_variance(pairs["test_accuracy"]) + _variance(pairs["test_accuracy_b"])) / pairs[
        "n_test"
    ]
    return Difference(gaps.mean(), float(np.fmax(gaps.sem(ddof=1), math.sqrt(variances.mean()))))


def _variance(accuracy: pd.Series) -> pd.Series:
    return accuracy * (100 - accuracy)


def table(records: Sequence[Record], sizes: Mapping[str, int]) -> pd.DataFrame:
    """A row for each selection of `sizes` (selection -> tuned parameters), in their order, at the chosen rates.

    Accuracies are means over `n` seeds (%), `_error` their standard errors (ddof = 1, NaN of one seed),
    `binomial_error` what the number of test images alone gives one run. `difference`: from "all", see `difference`.
    `share`: of the parameters of "all" (%); `cost`: forward passes, relative to those of "all"; `seconds`: wall time;
    both of a run at the chosen rate. `n_failed` counts failed runs at all rates.
    """
    runs = chosen_runs(records)
    full = runs[runs["selection"] == "all"]["forward_passes"].mean()
    rows = []
    for name, size in sizes.items():
        own = runs[runs["selection"] == name]
        lead = difference(runs, name, "all") if name != "all" else Difference(math.nan, math.nan)
        failed = [r for r in records if r.settings["selection"] == name and r.status == "failed"]
        rows.append(
            {
                "selection": name,
                "learning_rates": tuple(own["learning_rate"]) if size else (),
                "valid_accuracy": own["valid_accuracy"].mean(),
                "valid_accuracy_error": own["valid_accuracy"].sem(ddof=1),
                "test_accuracy": own["test_accuracy"].mean(),
                "test_accuracy_error": own["test_accuracy"].sem(ddof=1),
                "binomial_error": math.sqrt(
                    (_variance(own["test_accuracy"]) / own["n_test"]).mean()
                ),
                "n": len(own),
                "difference": lead.mean,
                "difference_error": lead.error,
                "tuned_parameters": size,
                "share": 100 * size / sizes["all"],
                "cost": own["forward_passes"].mean() / full,
                "seconds": own["wall_time"].mean(),
                "n_failed": len(failed),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Failures:
    """Of the runs of one selection: how many of how many failed, the first of them, and the seeds without a result."""

    failed: int
    total: int
    first: Record
    seeds: tuple[int, ...]

    @property
    def reason(self) -> str:
        """Why the first failed, and at which settings."""
        settings = self.first.settings
        where = f"at learning rate {settings['learning_rate']:g}, seed {settings['seed']}"
        return f"{where}: {one_line(self.first.error)}"


def failures(records: Sequence[Record]) -> dict[str, Failures]:
    """Selection -> its failures, for those that have any, in the records' order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.settings["selection"], []).append(record)
    found = {}
    for name, group in groups.items():
        failed = [record for record in group if record.status == "failed"]
        left = {record.settings["seed"] for record in group if record.status == "finished"}
        lacking = {r.settings["seed"]: None for r in failed if r.settings["seed"] not in left}
        if failed:
            found[name] = Failures(len(failed), len(group), failed[0], tuple(lacking))
    return found


def ratio(value: float) -> str:
    """Two digits behind the point; a dash where a run failed that it needs."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def one_line(error: str) -> str:
    """The message without line breaks, and not longer than a few lines."""
    text = " ".join(error.split()) or "no reason given"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def best(runs: pd.DataFrame, among: Sequence[str]) -> str | None:
    """Of `among`, the selection with the highest mean validation accuracy; ties: lowest mean loss, then the first.

    Selections that lack a seed which others have are left out; None where nothing is left.
    """
    seeds = runs["seed"].nunique()
    means = runs.groupby("selection")[["valid_accuracy", "valid_loss"]].mean()
    whole = runs.groupby("selection").size() == seeds
    legal = [name for name in among if whole.get(name, False)]
    rank = {n: (round(means["valid_accuracy"][n], 9), -means["valid_loss"][n]) for n in legal}
    return max(legal, key=rank.__getitem__, default=None)


def level_of(blocks: Blocks, tensors: Sequence[str]) -> str:
    """ "input", "feature" or "output": where these tensors lie; "unclear" where they are of several, or none.

    The last block is the output's, and does not count where it is tuned along with others; of these the first third,
    rounded up, is the input's, the rest the features'.
    """
    *body, last = blocks.names
    touched = {blocks.block_of(tensor) for tensor in tensors}
    if touched == {last}:
        return "output"
    early = body[: math.ceil(len(body) / 3)]
    levels = {"input" if name in early else "feature" for name in touched - {last}}
    return levels.pop() if len(levels) == 1 else UNCLEAR
