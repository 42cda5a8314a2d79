"""The share of the gap that a candidate closes: its error, its cost, and when nothing can be said."""

import math

import numpy as np
import pandas as pd
import pytest
from option_records import run, scenario

from surgicalft.report.bench import (
    BUDGET,
    accuracy_and_cost,
    gap_closed,
    parts,
    readable,
    share_of,
    verdict,
)

NAMES = ("glyphs-background", "glyphs-case", "glyphs-flip", "glyphs-ink")


def bench(gains, gap=10.0, passes=100.0, names=NAMES, seeds=(0, 1)):
    """Halving gains so many points over Auto-RGN, scenario by scenario, at `passes` against full tuning's 100."""
    records = []
    for name, gain in zip(names, gains, strict=True):
        for seed in seeds:
            base = 60.0 + seed
            records += scenario(name, seed, All=55.0, Auto_RGN=base, Cross_Val=base + gap)
            records += scenario(name, seed, passes, Halving=base + gain)
    return records


def row(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_the_share_is_a_ratio_of_means_with_its_error():
    found = row(gap_closed(bench((8.0, 7.0, 8.0, 9.0)), ["Halving"]))
    assert (found["part"], found["share"], found["gap"], found["gain"]) == (
        "held-out",
        0.8,
        10.0,
        8.0,
    )
    assert found["share_error"] == pytest.approx(math.sqrt(2 / 3 / 4) / 10)
    assert (found["units"], found["n"], found["cost"], found["verdict"]) == (4, 8, 1.0, "yes")


def test_the_delta_method_agrees_with_a_bootstrap_of_the_units():
    rng = np.random.default_rng(0)
    gap = pd.Series(10 + rng.normal(0, 1.5, 40))
    gain = 0.6 * gap + rng.normal(0, 1, 40)
    share, error = share_of(gain, gap)
    picks = rng.integers(0, 40, (4000, 40))
    shares = gain.to_numpy()[picks].mean(1) / gap.to_numpy()[picks].mean(1)
    assert share == pytest.approx(shares.mean(), abs=0.1 * error)
    assert error == pytest.approx(shares.std(ddof=1), rel=0.1)


def test_a_scenario_is_one_unit_however_many_seeds():
    few, many = (
        gap_closed(bench((8.0, 7.0, 8.0, 9.0), seeds=seeds), ["Halving"])
        for seeds in ((0,), range(5))
    )
    assert row(few)["share_error"] == pytest.approx(row(many)["share_error"])


def test_a_single_scenario_has_its_seeds_as_units():
    records = bench((8.0,), names=NAMES[:1]) + scenario(
        NAMES[0], 2, All=55.0, Auto_RGN=60.0, Cross_Val=70.0, Halving=62.0
    )
    found = row(gap_closed(records, ["Halving"]))
    assert (found["units"], found["n"]) == (3, 3) and found["share"] == pytest.approx(0.6)
    assert found["verdict"] == "undecided"


def test_design_and_held_out_scenarios_are_told_apart():
    found = gap_closed(bench((9.0, 9.5, 1.0, 1.5)), ["Halving"], design=NAMES[:2])
    assert row(found, part="design")["share"] == pytest.approx(0.925)
    held = row(found, part="held-out")
    assert held["share"] == pytest.approx(0.125) and held["units"] == 2
    with pytest.raises(
        ValueError, match=r"design scenarios \['glyphs-c/fog'\] have no runs; .*glyphs-ink"
    ):
        gap_closed(bench((1.0,) * 4), design=("glyphs-c/fog",))
    assert parts(NAMES, NAMES) == {"design": list(NAMES)}


@pytest.mark.parametrize(
    ("gains", "gap", "passes", "expected"),
    [
        ((8.0, 7.0, 8.0, 9.0), 10.0, 100.0 * BUDGET, "yes"),
        ((8.0, 7.0, 8.0, 9.0), 10.0, 151.0, "too expensive"),
        ((1.0, 2.0, 1.0, 2.0), 10.0, 100.0, "no"),
        ((5.0, 4.0, 6.0, 5.5), 10.0, 100.0, "undecided"),
        ((8.0, 7.0, 8.0, 9.0), -1.0, 100.0, "no gap"),
        ((8.0, 7.0, 8.0, 9.0), 0.0, 100.0, "no gap"),
    ],
)
def test_verdicts(gains, gap, passes, expected):
    found = row(gap_closed(bench(gains, gap, passes), ["Halving"]))
    assert found["verdict"] == expected
    assert math.isnan(found["share"]) == (gap <= 0)


def test_the_verdict_takes_few_scenarios_for_few():
    """Three standard errors of two units prove nothing: Student's t asks for 12.7."""
    gap = pd.Series([10.0, 10.0])
    gain = pd.Series([7.0, 9.0])
    assert (gain - 0.5 * gap).mean() / (gain - 0.5 * gap).sem() == pytest.approx(3)
    assert verdict(gain, gap, 1.0) == "undecided"
    assert verdict(pd.Series([7.0, 9.0] * 4), pd.Series([10.0] * 8), 1.0) == "yes"
    assert verdict(gain[:1], gap[:1], 1.0) == "undecided"
    assert verdict(gain[:0], gap[:0], 1.0) == "no runs"
    assert verdict(gain, gap, math.nan) == "cost unknown"


def test_test_accuracy_chooses_nothing():
    records = [
        *bench((8.0,) * 4),
        *(
            run(99.9, valid=0.0, scenario=n, seed=s, selection="last")
            for n in NAMES
            for s in (0, 1)
        ),
    ]
    assert row(gap_closed(records, ["Halving"]))["gap"] == 10


def test_all_methods_are_candidates_unless_named():
    assert list(gap_closed(bench((8.0,) * 4))["option"]) == ["All", "Halving"]
    with pytest.raises(
        ValueError, match=r"no runs of 'Fisher'; there are runs of \['Cross-Val', 'All'"
    ):
        gap_closed(bench((8.0,) * 4), ["Fisher"])
    with pytest.raises(ValueError, match="no runs of 'Cross-Val'"):
        gap_closed(scenario("glyphs-case", Auto_RGN=70.0))


def test_a_candidate_is_judged_on_the_scenarios_that_it_has():
    records = bench((8.0, 7.0, 8.0, 9.0)) + scenario(
        "glyphs-c/fog", All=50.0, Auto_RGN=50.0, Cross_Val=90.0
    )
    found = row(gap_closed(records, ["Halving"]))
    assert (found["units"], found["gap"]) == (4, 10.0)


def test_accuracy_and_cost():
    found = accuracy_and_cost(bench((8.0, 7.0, 8.0, 9.0), passes=50.0), design=NAMES[:1])
    halving = row(found, option="Halving", part="held-out")
    assert halving["mean"] == pytest.approx(68.5) and halving["standard_error"] == pytest.approx(
        0.5
    )
    assert (halving["n"], halving["n_scenarios"], halving["cost"]) == (2, 3, 0.5)
    assert halving["gain"] == pytest.approx(13.5)
    assert halving["gain_error"] == pytest.approx(1 / math.sqrt(3))
    assert halving["scenarios"] == ", ".join(NAMES[1:])
    assert row(found, option="Halving", part="design")["n_scenarios"] == 1


def test_an_incomplete_option_has_no_mean():
    records = bench((8.0,) * 4) + scenario("glyphs-case", RGN_after_head=70.0)
    found = row(accuracy_and_cost(records), option="RGN after head")
    assert math.isnan(found["mean"]) and math.isnan(found["gain"])


def test_the_table_as_people_read_it():
    (found,) = readable(gap_closed(bench((8.0, 7.0, 8.0, 9.0)), ["Halving"])).to_dict("records")
    assert found["share of the gap (%)"] == "80.0 ± 4.1" and found["gap (points)"] == "10.0 ± 0.0"
    assert (found["cost"], found["cost in single runs"]) == ("1.00", "1.00")
    assert found["half closed at 1.5 runs"] == "yes"
