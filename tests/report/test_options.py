"""Which runs belong to a row, which of them validation chooses, and what they cost together."""

import math

import pytest
from option_records import run

from surgicalft.report.options import BLOCK, FULL, KINDS, OPTIONS, Option, results
from surgicalft.report.paper import TABLES


def labels(**settings):
    """The rows that a run of these settings belongs to."""
    return {option.label for option in OPTIONS if option.holds(run(1.0, **settings).settings)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"selection": "all"}, {"All"}),
        ({"selection": "none"}, {"No Adaptation"}),
        ({"selection": "last"}, {"Cross-Val", "Last layer"}),
        ({"selection": "block 2"}, {"Cross-Val"}),
        ({"selection": "block 1:block 2"}, set()),
        ({"selection": "block 3+last"}, set()),
        ({"selection": "norms"}, {"Norm-only"}),
        ({"method": "auto-rgn"}, {"Auto-RGN"}),
        ({"method": "auto-rgn", "variant": "code"}, {"Auto-RGN (code)"}),
        ({"method": "auto-rgn", "selection": "block 1"}, set()),
        ({"method": "l1-sp", "strength": 1e-3}, {"L1 Regularize"}),
    ],
)
def test_which_rows_a_run_belongs_to(settings, expected):
    assert labels(**settings) == expected


def test_the_paper_s_rows_have_the_paper_s_names():
    ours = [option.label for option in OPTIONS if option.kind in ("bound", "paper")]
    assert ours == list(TABLES[4].rows)
    assert len({option.label for option in OPTIONS}) == len(OPTIONS)
    assert {option.kind for option in OPTIONS} == set(KINDS)


def row(frame, label, seed=0):
    (found,) = frame[(frame["option"] == label) & (frame["seed"] == seed)].to_dict("records")
    return found


def test_cross_val_chooses_block_and_rate_by_validation_and_costs_the_sum():
    records = [
        run(70.0, 40.0, valid=90.0, selection="block 1", learning_rate=1e-3),
        run(99.0, 40.0, valid=50.0, selection="block 1", learning_rate=1e-4),
        run(80.0, 10.0, valid=91.0, selection="last", learning_rate=1e-1),
        run(98.0, 10.0, valid=60.0, selection="last", learning_rate=1e-2),
        run(60.0, 50.0, learning_rate=1e-3),
        run(55.0, 50.0, learning_rate=1e-4),
    ]
    found = row(results(records), "Cross-Val")
    assert (found["accuracy"], found["chosen"], found["learning_rate"]) == (80.0, "last", 0.1)
    assert (found["runs"], found["forward_passes"], found["seconds"]) == (4, 100.0, 8.0)
    assert (found["cost"], found["full_runs"], found["run_cost"]) == (1.0, 2.0, 0.5)
    assert found["time"] == 2.0
    best = row(results(records, rule="oracle"), "Cross-Val")
    assert (best["accuracy"], best["rule"]) == (99.0, "oracle")


def test_the_strength_is_chosen_by_validation_and_paid_for():
    records = [run(70.0, 50.0, learning_rate=rate) for rate in (1e-3, 1e-4)]
    for strength, valid in ((1e-3, 60.0), (1e-4, 80.0)):
        for rate in (1e-3, 1e-4):
            more = {"method": "l1-sp", "strength": strength, "learning_rate": rate}
            records.append(run(100 * strength, 60.0, valid=valid - rate, **more))
    found = row(results(records), "L1 Regularize")
    assert found["accuracy"] == pytest.approx(0.01) and found["chosen"] == "all, strength 0.0001"
    assert found["learning_rate"] == 1e-4
    assert (found["runs"], found["cost"], found["full_runs"]) == (4, 2.4, 4.8)


def test_costs_are_relative_to_full_fine_tuning_of_the_same_scenario_and_seed():
    records = [
        run(70.0, passes, scenario=scenario, seed=seed, method=method)
        for scenario, seed, unit in (
            ("glyphs-case", 0, 10.0),
            ("glyphs-case", 1, 20.0),
            ("glyphs-ink", 0, 40.0),
        )
        for method, passes in (("surgical", unit), ("auto-rgn", 1.5 * unit))
    ]
    frame = results(records)
    assert list(frame[frame["option"] == "Auto-RGN"]["cost"]) == [1.5, 1.5, 1.5]
    assert list(frame[frame["option"] == FULL]["cost"]) == [1.0, 1.0, 1.0]


def test_a_search_tells_what_it_found():
    rows = [
        {"selection": "block 1", "learning_rate": 0.01, "valid_accuracy": 40.0, "valid_loss": 1.0},
        {"selection": "last", "learning_rate": 0.1},  # diverged
        {"selection": "last", "learning_rate": 0.01, "valid_accuracy": 75.0, "valid_loss": 1.0},
    ]
    record = run(
        74.0, valid=75.0, method="halving", learning_rate=0.0, history=rows, rates=[0.01, 0.1]
    )
    found = row(results([record]), "Halving")
    assert (found["chosen"], found["learning_rate"]) == ("last", 0.01)


def test_a_failed_run_is_counted_and_costs_what_the_others_do():
    records = [
        run(None, learning_rate=1.0, seconds=1.0),
        run(70.0, 30.0, learning_rate=1e-3, seconds=2.0),
        run(71.0, 50.0, learning_rate=1e-4, seconds=2.0),
    ]
    found = row(results(records), FULL)
    assert (found["accuracy"], found["runs"], found["n_failed"]) == (71.0, 3, 1)
    assert (found["forward_passes"], found["seconds"]) == (120.0, 5.0)


def test_where_all_failed_there_is_no_accuracy():
    found = row(results([run(None), run(70.0, seed=1)]), FULL)
    assert math.isnan(found["accuracy"]) and math.isnan(found["cost"]) and found["n_failed"] == 1


def test_without_full_fine_tuning_or_without_costs_ratios_are_nan():
    assert math.isnan(row(results([run(70.0, method="auto-rgn")]), "Auto-RGN")["cost"])
    found = row(results([run(70.0, None), run(71.0, None, selection="last")]), "Last layer")
    assert math.isnan(found["cost"]) and found["time"] == 1.0 and found["accuracy"] == 71.0


def test_the_order_of_records_and_copies_of_them_change_nothing():
    records = [
        run(70.0, selection=f"block {i}", learning_rate=rate)
        for i in (1, 2)
        for rate in (0.1, 0.01)
    ]
    assert results(records).equals(results(records[::-1] + records))


def test_records_that_are_not_alike_are_an_error():
    with pytest.raises(
        ValueError, match=r"glyphs-case differ in n_tune: \['100', '200'\]; keep one"
    ):
        results([run(70.0), run(80.0, n_tune=100, method="auto-rgn")])
    with pytest.raises(ValueError, match=r"differ in planted: \['null', '\{\"block\": 1\}'\]"):
        results([run(70.0), run(80.0, planted={"block": 1})])
    with pytest.raises(ValueError, match="differ in epochs"):
        results([run(70.0), run(70.0, epochs=5, method="auto-rgn")])
    results([run(70.0), run(30.0, selection="none", epochs=0, learning_rate=0.0)])
    results([run(70.0), run(80.0, n_tune=100, scenario="glyphs-ink")])


def test_seeds_with_other_candidates_are_an_error():
    records = [run(70.0, seed=0), run(71.0, seed=0, learning_rate=1e-4), run(70.0, seed=1)]
    with pytest.raises(
        ValueError,
        match=r"All on glyphs-case: the runs of seed 1 .* \['\[0.0001, null, \"all\"\]'\]",
    ):
        results(records)


def test_no_records_are_an_error():
    with pytest.raises(ValueError, match=r"none of 1 records belongs to \['Nothing'\]"):
        results([run(70.0)], [Option("Nothing", "no-such-method")])
    with pytest.raises(ValueError, match="none of 0 records"):
        results([])


def test_a_finished_record_needs_its_test_accuracy():
    broken = run(70.0)
    object.__setattr__(broken, "n_test", 0)
    with pytest.raises(ValueError, match=r"lacks test_accuracy \(70.0\) or n_test \(0\)"):
        results([broken])


def test_a_block_is_no_union_range_or_kind():
    option = Option("Blocks", selection=BLOCK)
    names = (
        "block 1",
        "last",
        "stem",
        "embedding",
        "first layers",
        "all",
        "none",
        "norms",
        "biases",
        "a+b",
        "a:b",
    )
    assert [option.holds({"method": "surgical", "selection": name}) for name in names] == [
        True
    ] * 5 + [False] * 6
