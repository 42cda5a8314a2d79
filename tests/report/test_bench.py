"""The share of the gap that a candidate closes: its error, its cost, and when nothing can be said."""

import math

import pytest
from option_records import run, scenario

from surgicalft.report.bench import BUDGET, accuracy_and_cost, gap_closed, parts, readable, verdict
from surgicalft.report.estimates import Estimate

NAMES = ("glyphs-background", "glyphs-case", "glyphs-flip", "glyphs-ink")


def bench(gains, gap=10.0, passes=100.0, names=NAMES, seeds=(0, 1), spread=0.4):
    """Halving gains so many points over Auto-RGN, scenario by scenario, at `passes` against full tuning's 100.

    Its gain of seed s lies (s - mean s) * spread off.
    """
    records = []
    for name, gain in zip(names, gains, strict=True):
        for seed in seeds:
            base = 60.0 + seed
            off = spread * (seed - sum(seeds) / len(seeds))
            records += scenario(name, seed, All=55.0, Auto_RGN=base, Cross_Val=base + gap)
            records += scenario(name, seed, passes, Halving=base + gain + off)
    return records


def row(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_the_share_is_a_ratio_of_means_with_its_errors():
    found = row(gap_closed(bench((8.0, 7.0, 8.0, 9.0)), ["Halving"]))
    assert (found["part"], found["gap"], found["gap_error"]) == ("held-out", 10.0, 0.0)
    assert (found["share"], found["gain"]) == pytest.approx((0.8, 8.0))
    error = 0.2 / math.sqrt(
        4
    )  # each scenario's two gains lie 0.4 apart: its mean has an error of 0.2
    assert (found["gain_error"], found["share_error"]) == pytest.approx((error, error / 10))
    assert found["jackknife_error"] == pytest.approx(
        math.sqrt(2 / 3 / 4) / 10
    )  # as of a mean of four
    assert (found["n_scenarios"], found["n"], found["half_closed"]) == (4, 8, 4)
    assert (found["cost"], found["verdict"], found["elsewhere"]) == (1.0, "yes", "yes")


def test_what_hangs_on_one_scenario_holds_here_but_not_elsewhere():
    records = bench((60.0,), gap=60.0, names=NAMES[:1]) + bench(
        (0.1, -0.2, 0.1), gap=0.5, names=NAMES[1:]
    )
    found = row(gap_closed(records, ["Halving"]))
    assert found["share"] == pytest.approx(60 / 61.5) and found["jackknife_error"] > 0.5
    assert found["half_closed"] == 1
    assert (found["verdict"], found["elsewhere"]) == ("yes", "undecided")


def test_one_seed_decides_nothing_here():
    found = row(gap_closed(bench((8.0, 7.0, 8.0, 9.0), seeds=(0,)), ["Halving"]))
    assert math.isnan(found["share_error"]) and found["share"] == pytest.approx(0.8)
    assert (found["verdict"], found["elsewhere"]) == ("undecided", "yes")


def test_one_scenario_decides_nothing_elsewhere():
    found = row(gap_closed(bench((8.0,), names=NAMES[:1], seeds=(0, 1, 2)), ["Halving"]))
    assert (found["n_scenarios"], found["n"]) == (1, 3) and math.isnan(found["jackknife_error"])
    assert (found["verdict"], found["elsewhere"]) == ("yes", "undecided")


def test_design_and_held_out_scenarios_are_told_apart():
    found = gap_closed(bench((9.0, 9.5, 1.0, 1.5)), ["Halving"], design=NAMES[:2])
    assert row(found, part="design")["share"] == pytest.approx(0.925)
    held = row(found, part="held-out")
    assert held["share"] == pytest.approx(0.125) and held["n_scenarios"] == 2
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
        ((5.0, 4.0, 6.0, 5.1), 10.0, 100.0, "undecided"),
        ((8.0, 7.0, 8.0, 9.0), -1.0, 100.0, "no gap"),
        ((8.0, 7.0, 8.0, 9.0), 0.0, 100.0, "no gap"),
    ],
)
def test_verdicts(gains, gap, passes, expected):
    found = row(gap_closed(bench(gains, gap, passes), ["Halving"]))
    assert found["verdict"] == expected
    assert math.isnan(found["share"]) == (gap <= 0)


def test_the_verdict_takes_few_for_few():
    """Three standard errors of two values prove nothing: Student's t asks for 12.7."""
    assert verdict(Estimate(3.0, 1.0, freedom=1), 10.0, 1.0) == "undecided"
    assert verdict(Estimate(13.0, 1.0, freedom=1), 10.0, 1.0) == "yes"
    assert verdict(Estimate(-3.0, 1.0, freedom=7), 10.0, 1.0) == "no"
    assert verdict(Estimate(3.0, math.nan, freedom=0), 10.0, 1.0) == "undecided"
    assert verdict(Estimate(math.nan, math.nan, freedom=0), math.nan, 1.0) == "no runs"
    assert verdict(Estimate(3.0, 1.0, freedom=9), 10.0, math.nan) == "cost unknown"


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
    assert (found["n_scenarios"], found["gap"]) == (4, 10.0)


def test_accuracy_and_cost():
    found = accuracy_and_cost(bench((8.0, 7.0, 8.0, 9.0), passes=50.0), design=NAMES[:1])
    halving = row(found, option="Halving", part="held-out")
    assert (halving["mean"], halving["standard_error"]) == pytest.approx((68.5, 0.7))
    assert (halving["n"], halving["n_scenarios"], halving["cost"]) == (2, 3, 0.5)
    assert halving["gain"] == pytest.approx(13.5)
    assert halving["gain_error"] == pytest.approx(1 / math.sqrt(3))
    assert halving["scenarios"] == ", ".join(NAMES[1:])
    assert row(found, option="Halving", part="design")["n_scenarios"] == 1


def test_of_one_seed_the_error_is_that_of_the_test_images():
    records = [run(80.0, scenario="glyphs-case"), run(50.0, scenario="glyphs-flip")]
    (found,) = accuracy_and_cost(records).to_dict("records")
    assert math.isnan(found["standard_error"])
    assert found["binomial_error"] == pytest.approx(math.sqrt((1600 + 2500) / 900) / 2)


def test_an_incomplete_option_has_no_mean():
    records = bench((8.0,) * 4) + scenario("glyphs-case", RGN_after_head=70.0)
    found = row(accuracy_and_cost(records), option="RGN after head")
    assert math.isnan(found["mean"]) and math.isnan(found["gain"])


def test_the_table_as_people_read_it():
    (found,) = readable(gap_closed(bench((8.0, 7.0, 8.0, 9.0)), ["Halving"])).to_dict("records")
    assert found["share of the gap (%)"] == "80.0 ± 1.0" and found["gap (points)"] == "10.0 ± 0.0"
    assert (found["jackknife error (%)"], found["scenarios half closed"]) == ("4.1", "4 of 4")
    assert (found["cost"], found["cost in single runs"]) == ("1.00", "1.00")
    assert found["half closed at 1.5 runs"] == "yes"
