"""Choosing by a rule and averaging over seeds: known means, and no failed run goes missing."""

import math

import numpy as np
import pandas as pd
import pytest
from result_records import by_seed, record

from surgicalft.export import choose_rates, mean_over
from surgicalft.export.query import query
from surgicalft.report.tables import summary
from surgicalft.sweep.frame import to_frame
from surgicalft.sweep.record import Record


def test_mean_and_standard_error_over_seeds() -> None:
    values = [70.0, 74.0, 75.0]
    row = mean_over(to_frame(by_seed(values))).iloc[0]
    assert row["mean"] == 73.0
    assert row["standard_error"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(3), rel=1e-12)
    assert (row["n"], row["seeds"], row["n_failed"], row["n_test"]) == (3, (0, 1, 2), 0, 900)
    assert (row["device"], row["provenance"], row["metric"]) == ("cpu", "embedded", "test_accuracy")
    assert row["selection"] == "last" and "seed" not in row


def test_one_seed_has_no_standard_error() -> None:
    row = mean_over(to_frame([record(70.0)])).iloc[0]
    assert row["mean"] == 70.0 and math.isnan(row["standard_error"]) and row["n"] == 1


def test_failed_runs_are_counted_and_in_no_mean() -> None:
    failed = [record(seed=1, error="Diverged: nan"), record(selection="all", error="OSError: no")]
    table = mean_over(to_frame([record(60.0), *failed])).set_index("selection")
    assert table.loc["last", ["mean", "n", "seeds", "n_failed"]].tolist() == [60.0, 1, (0,), 1]
    assert table.loc["all", ["n", "seeds", "n_failed"]].tolist() == [0, (), 1]
    assert math.isnan(table.loc["all", "mean"])


def test_a_finished_run_without_the_metric_is_not_passed_over() -> None:
    records = [record(60.0, seed=0), record(math.nan, seed=1)]
    row = mean_over(to_frame(records)).iloc[0]
    assert math.isnan(row["mean"]) and row["n"] == 2


def test_settings_that_are_absent_in_some_records_make_their_own_means() -> None:
    records = by_seed([10.0, 20.0]) + by_seed([30.0, 50.0], strength=1.0)
    records += by_seed([0.0, 2.0], strength="auto") + by_seed([1.0, 1.0], pretrain={"epochs": 3})
    table = mean_over(to_frame(records))
    assert table["mean"].tolist() == [15.0, 40.0, 1.0, 1.0]
    assert table["n"].tolist() == [2, 2, 2, 2]


def test_over_several_settings() -> None:
    records = [record(10.0 * s, seed=s, planted={"seed": s, "block": "last"}) for s in range(3)]
    row = mean_over(to_frame(records), over=("seed", "planted.seed")).iloc[0]
    assert row["mean"] == 10.0 and row["seeds"] == ("0/0", "1/1", "2/2")


def test_a_setting_called_like_a_column_of_the_table_keeps_a_name() -> None:
    table = mean_over(to_frame(by_seed([1.0, 3.0], n=5, mean="x")))
    assert table.loc[0, ["settings.n", "settings.mean", "n", "mean"]].tolist() == [5, "x", 2, 2.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": ("sead",)}, r"unknown setting to average over 'sead'; did you mean 'seed'\?"),
        ({"metric": "selection"}, "unknown metric 'selection'.*legal: .*test_accuracy"),
        ({"metric": "seed"}, "unknown metric 'seed'"),
    ],
)
def test_unknown_names(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_over(to_frame(by_seed([1.0, 3.0])), **options)


def test_no_records_have_no_means() -> None:
    table = mean_over(to_frame([]))
    assert len(table) == 0 and {"mean", "standard_error", "n"} <= set(table)


def _study() -> list[Record]:
    """Two seeds of two selections at two rates: validation and test disagree; one run failed."""
    records = [
        record(accuracy, selection, seed, rate, valid)
        for selection, seed, rate, accuracy, valid in [
            ("last", 0, 0.1, 80.0, 50.0),
            ("last", 0, 0.01, 70.0, 60.0),
            ("last", 1, 0.1, 75.0, 70.0),
            ("last", 1, 0.01, 90.0, 60.0),
            ("all", 0, 0.01, 65.0, 60.0),
            ("all", 1, 0.01, 67.0, 60.0),
        ]
    ]
    return [*records, record(None, "all", 0, 0.1, error="Diverged: nan")]


def test_the_rule_chooses_for_each_selection_and_seed() -> None:
    frame = choose_rates(_study()).sort_values(["selection", "seed"])
    assert frame["learning_rate"].tolist() == [0.01, 0.01, 0.01, 0.1]
    assert frame["test_accuracy"].tolist() == [65.0, 67.0, 70.0, 75.0]
    assert frame["choice.candidates"].tolist() == [2, 1, 2, 2]
    assert frame["choice.failed"].tolist() == [1, 0, 0, 0]
    oracle = choose_rates(_study(), "oracle").sort_values(["selection", "seed"])
    assert oracle["test_accuracy"].tolist() == [65.0, 67.0, 80.0, 90.0]
    assert set(oracle["choice.rule"]) == {"oracle"}


def test_means_of_chosen_runs_are_those_of_the_reports() -> None:
    ours = mean_over(choose_rates(_study())).sort_values("selection")
    settings = {"model": "resnet26-bn", "n_tune": 1000}
    filled = [Record(**{**vars(r), "settings": r.settings | settings}) for r in _study()]
    theirs = summary(filled).sort_values("selection")
    for name in ("mean", "standard_error", "n", "seeds", "n_failed", "learning_rates"):
        assert ours[name].tolist() == theirs[name].tolist(), name
    assert set(ours["rule"]) == {"target_valid"}


def test_where_all_rates_failed_the_selection_is_still_there() -> None:
    failed = [record(None, rate=rate, error="Diverged: nan") for rate in (0.1, 0.01)]
    frame = choose_rates([*failed, record(50.0, "all")])
    assert frame["status"].tolist() == ["failed", "finished"]
    table = mean_over(frame).set_index("selection")
    assert table.loc["last", ["n", "n_failed"]].tolist() == [0, 2]


def test_a_rule_that_cant_choose_says_among_which_runs() -> None:
    blind = Record(**{**vars(record(50.0, "all")), "valid_accuracy": None})
    with pytest.raises(ValueError, match=r'can\'t choose.*"selection": "all".*no metric'):
        choose_rates([record(50.0), blind])
    with pytest.raises(ValueError, match=r"rule must be one of .*not 'best'"):
        choose_rates([], "best")


def test_a_condition_on_the_outcome_never_chooses_among_runs() -> None:
    _, table = query(_study(), ["test_accuracy>66"], rule="target_valid")
    assert sorted(table["test_accuracy"]) == [
        67.0,
        70.0,
        75.0,
    ]  # not the 80 that validation passed by
    _, table = query(_study(), ["mean>70", "selection=last"], "target_valid", ["seed"])
    assert table["mean"].tolist() == [72.5]
    with pytest.raises(ValueError, match="is the outcome of single runs"):
        query(_study(), ["test_accuracy>66"], over=["seed"])
    with pytest.raises(ValueError, match=r"unknown column 'selektion'; did you mean 'selection'"):
        query(_study(), ["selektion=last"], over=["seed"])


def test_many_records() -> None:
    records = [
        record(50.0 + seed, f"block {block}", seed, rate, scenario=f"glyphs-{s}")
        for s in range(20)
        for block in range(25)
        for seed in range(5)
        for rate in (0.1, 0.01, 0.001, 0.0001)
    ]
    assert len(records) == 10_000
    kept, table = query(records, ["seed<4", "scenario!=glyphs-3"], "target_valid", ["seed"])
    assert len(kept) == 7_600 and len(table) == 19 * 25
    assert set(table["n"]) == {4} and set(table["mean"]) == {51.5}
    assert isinstance(table, pd.DataFrame)
