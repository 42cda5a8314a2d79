"""Means over scenarios, and ratios of such means, with their errors over seeds and over scenarios.

Values are indexed by scenario and seed. Seeds say how sure a number is for these scenarios, the differences between
scenarios how sure it is for others like them.
"""

import math
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error (NaN where there is one value) and the error's degrees of freedom."""

    mean: float
    error: float
    freedom: int


def over_seeds(values: pd.Series) -> Estimate:
    """The mean over scenarios of the means over seeds, its error from seeds alone (a stratified mean).

    values: indexed by scenario and seed. error = sqrt(sum_s var_s / n_s) / S with ddof = 1; NaN where a scenario has
    one seed.
    """
    groups = values.groupby(level="scenario")
    error = math.sqrt((groups.var(ddof=1) / groups.size()).sum(skipna=False)) / max(len(groups), 1)
    return Estimate(groups.mean().mean(), error, int((groups.size() - 1).sum()))


def over_scenarios(values: pd.Series) -> Estimate:
    """The same mean, its error from the differences between scenarios; NaN of one scenario."""
    means = values.groupby(level="scenario").mean()
    return Estimate(means.mean(), means.sem(ddof=1), len(means) - 1)


def share_of(gain: pd.Series, gap: pd.Series) -> tuple[float, float, float]:
    """mean gain / mean gap, its error over seeds, and its jackknife error over scenarios, of paired values.

    The error over seeds is the delta method's, error(gain - share gap) / mean gap (Cochran 1977, section 6.11: the
    combined ratio of a stratified sample). The jackknife leaves out one scenario at a time: NaN of one scenario, and
    where what is left has no positive mean gap. All NaN where the mean gap is not positive: there is nothing to close.
    """
    a, b = (values.groupby(level="scenario").mean() for values in (gain, gap))
    if not b.mean() > 0:
        return math.nan, math.nan, math.nan
    share = a.sum() / b.sum()
    n = len(a)
    left = b.sum() - b  # without each scenario
    without = (a.sum() - a) / left.where(left > 0)
    spread = ((without - without.mean(skipna=False)) ** 2).sum(skipna=False)
    jackknife = math.sqrt(spread * (n - 1) / n) if n > 1 else math.nan
    return share, over_seeds(gain - share * gap).error / b.mean(), jackknife
