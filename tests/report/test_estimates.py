"""Errors over seeds and over scenarios against formulas and against resampling."""

import math

import numpy as np
import pandas as pd
import pytest

from surgicalft.report.estimates import over_scenarios, over_seeds, share_of


def table(values):
    """values: one row per scenario, one column per seed."""
    values = np.asarray(values, dtype=float)
    index = pd.MultiIndex.from_product(
        [range(len(values)), range(values.shape[1])], names=["scenario", "seed"]
    )
    return pd.Series(values.ravel(), index)


def test_of_one_scenario_the_error_over_seeds_is_the_usual_one():
    found = over_seeds(table([[1.0, 2.0, 6.0]]))
    assert (found.mean, found.freedom) == (3.0, 2)
    assert found.error == pytest.approx(math.sqrt(7 / 3))
    assert math.isnan(over_scenarios(table([[1.0, 2.0, 6.0]])).error)


def test_differences_between_scenarios_are_no_error_over_seeds():
    values = table([[0.0, 0.0], [90.0, 90.0]])
    assert (over_seeds(values).mean, over_seeds(values).error, over_seeds(values).freedom) == (
        45.0,
        0.0,
        2,
    )
    assert (over_scenarios(values).error, over_scenarios(values).freedom) == (45.0, 1)


def test_every_scenario_weighs_the_same():
    uneven = table([[1.0, 3.0], [10.0, 12.0]]).drop((0, 1))
    assert over_seeds(uneven).mean == 6.0 and over_scenarios(uneven).mean == 6.0
    assert math.isnan(over_seeds(uneven).error)  # of one seed nothing is known


def test_the_delta_method_agrees_with_resampling_seeds_within_scenarios():
    rng = np.random.default_rng(0)
    gap = np.array([[5.0], [10.0], [60.0]]) + rng.normal(0, 1.5, (3, 40))
    gain = 0.6 * gap + rng.normal(0, 1, (3, 40))
    share, error, _ = share_of(table(gain), table(gap))
    picks = rng.integers(0, 40, (4000, 3, 40))
    drawn = [np.take_along_axis(values[None], picks, axis=2).mean((1, 2)) for values in (gain, gap)]
    shares = drawn[0] / drawn[1]
    assert share == pytest.approx(shares.mean(), abs=0.1 * error)
    assert error == pytest.approx(shares.std(ddof=1), rel=0.1)


def test_the_jackknife_leaves_out_one_scenario_at_a_time():
    gain, gap = np.array([8.0, 7.0, 1.0, 9.0]), np.array([10.0, 5.0, 2.0, 20.0])
    without = [np.delete(gain, i).sum() / np.delete(gap, i).sum() for i in range(4)]
    expected = math.sqrt(3 / 4 * sum((r - np.mean(without)) ** 2 for r in without))
    share, _, jackknife = share_of(table(np.c_[gain, gain]), table(np.c_[gap, gap]))
    assert (share, jackknife) == pytest.approx((25 / 37, expected))


def test_without_a_gap_there_is_no_share():
    gain, none, one = (
        table([[1.0, 1.0]] * 2),
        table([[0.0, 0.0]] * 2),
        table([[5.0, 5.0], [-1.0, -1.0]]),
    )
    assert all(math.isnan(value) for value in share_of(gain, none))
    share, error, jackknife = share_of(gain, one)
    assert share == pytest.approx(0.5) and error == pytest.approx(0)
    assert math.isnan(jackknife)  # the gap hangs on one scenario


def test_nothing_at_all():
    empty = table([[1.0]])[:0]
    assert math.isnan(over_seeds(empty).mean) and math.isnan(over_scenarios(empty).mean)
    assert all(math.isnan(value) for value in share_of(empty, empty))
