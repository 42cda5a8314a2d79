"""Tables against numbers worked out by hand."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from surgicalft.report.markdown import markdown
from surgicalft.report.tables import (
    company,
    paired_difference,
    read_table,
    selection_key,
    summary,
    write_table,
)
from surgicalft.sweep.record import Record

Make = Callable[..., Record]


def one(frame: pd.DataFrame, **values: object) -> pd.Series:
    """The only row with these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_mean_and_standard_error_over_seeds(record: Make) -> None:
    row = one(summary([record(value, seed=s) for s, value in enumerate([80.0, 82.0, 87.0])]))
    assert row["mean"] == pytest.approx(83.0)
    assert row["standard_error"] == pytest.approx(math.sqrt((9 + 1 + 16) / 2 / 3))  # ddof = 1
    assert (row["n"], row["seeds"], row["rule"]) == (3, (0, 1, 2), "target_valid")
    assert (row["device"], row["provenance"]) == ("cpu", "made by hand")


def test_one_seed_has_no_standard_error_but_a_binomial_one(record: Make) -> None:
    row = one(summary([record(80.0, n_test=400)]))
    assert math.isnan(row["standard_error"])
    assert row["binomial_error"] == pytest.approx(2.0)  # sqrt(80 * 20 / 400)
    assert row["n_test"] == 400


def test_the_learning_rate_is_chosen_by_validation_within_each_seed(record: Make) -> None:
    records = [
        record(70.0, valid=90.0, learning_rate=1e-3, seed=0),
        record(99.0, valid=60.0, learning_rate=1e-4, seed=0),
        record(50.0, valid=10.0, learning_rate=1e-3, seed=1),
        record(72.0, valid=80.0, learning_rate=1e-4, seed=1),
    ]
    row = one(summary(records))
    assert row["mean"] == pytest.approx(71.0)
    assert row["learning_rates"] == (1e-3, 1e-4)
    best = one(summary(records, rule="oracle"))
    assert best["mean"] == pytest.approx((99 + 72) / 2)
    assert best["rule"] == "oracle"
    pd.testing.assert_frame_equal(summary(records), summary(records[::-1]))


def test_failed_runs_are_left_out_and_counted(record: Make) -> None:
    records = [
        record(80.0, seed=0),
        record(None, seed=0, learning_rate=0.1),
        record(84.0, seed=1),
        record(None, seed=2),
    ]
    row = one(summary(records))
    assert (row["mean"], row["n"], row["seeds"], row["n_failed"]) == (82.0, 2, (0, 1), 2)


def test_a_row_of_failures_only_is_still_shown(record: Make) -> None:
    row = one(summary([record(None, seed=0), record(None, seed=1)]))
    assert math.isnan(row["mean"]) and math.isnan(row["binomial_error"])
    assert (row["n"], row["n_failed"], row["learning_rates"]) == (0, 2, ())
    assert "| - |" in markdown(summary([record(None)]), {})


def test_rows_follow_the_network(record: Make) -> None:
    names = ["none", "all", "last", "block 10", "block 2", "block 1"]
    frame = summary([record(50.0, selection=name) for name in names])
    assert list(frame["selection"]) == ["block 1", "block 2", "block 10", "last", "all", "none"]
    assert selection_key("block 2") < selection_key("block 10") < selection_key("last")


def test_runs_that_are_not_alike_are_never_averaged(record: Make) -> None:
    records = [record(80.0, seed=0, epochs=15), record(82.0, seed=1, epochs=5)]
    with pytest.raises(ValueError, match=r"also differ in \['epochs'\]"):
        summary(records)
    assert list(summary(records, by=("selection", "epochs"))["n"]) == [1, 1]
    with pytest.raises(ValueError, match=r"unknown settings \['epoch'\].*legal.*'epochs'"):
        summary(records, by=("epoch",))


def test_settings_that_are_tables_can_be_grouped_by(record: Make) -> None:
    records = [record(80.0, pretrain={"seed": s, "source": "glyphs"}) for s in (0, 1)]
    assert list(summary(records, by=("pretrain",))["n"]) == [1, 1]


def test_the_rule_must_exist(record: Make) -> None:
    with pytest.raises(ValueError, match=r"must be one of .*target_valid.*not 'best'"):
        summary([record(80.0)], rule="best")


def test_no_records_is_an_error() -> None:
    with pytest.raises(ValueError, match="no records"):
        summary([])


def test_a_finished_record_without_test_accuracy_is_an_error(record: Make) -> None:
    with pytest.raises(ValueError, match=r"lacks test_accuracy \(80.0\) or n_test \(0\)"):
        summary([record(80.0, n_test=0)])


FOG, SNOW = "cifar10-c/fog", "cifar10-c/snow"


def corrupted(record: Make) -> list[Record]:
    """Two corruptions, two options, two seeds, 1,000 images: means that are easy to work out."""
    accuracies = {
        (FOG, "block 1"): (80.0, 84.0),
        (SNOW, "block 1"): (70.0, 72.0),
        (FOG, "all"): (79.0, 81.0),
        (SNOW, "all"): (66.0, 72.0),
    }
    return [
        record(value, scenario=scenario, selection=selection, seed=seed, n_tune=1000)
        for (scenario, selection), pair in accuracies.items()
        for seed, value in enumerate(pair)
    ]


def test_a_family_is_averaged_within_each_seed(record: Make) -> None:
    row = one(summary(corrupted(record), pool=True), scenario="cifar10-c/*", selection="block 1")
    assert row["mean"] == pytest.approx(76.5)  # of 75 and 78
    assert row["standard_error"] == pytest.approx(1.5)
    assert (row["n"], row["n_scenarios"]) == (2, 2)
    variance = (80 * 20 + 70 * 30 + 84 * 16 + 72 * 28) / 900 / 4 / 2
    assert row["binomial_error"] == pytest.approx(math.sqrt(variance))
    assert "cifar10-c/*" not in set(summary(corrupted(record))["scenario"])


def test_a_seed_that_lacks_a_scenario_is_not_in_its_family_s_mean(record: Make) -> None:
    records = [
        record(None, **r.settings)
        if (r.settings["scenario"], r.settings["selection"], r.settings["seed"]) == (SNOW, "all", 1)
        else r
        for r in corrupted(record)
    ]
    frame = summary(records, pool=True)
    row = one(frame, scenario="cifar10-c/*", selection="all")
    assert (row["mean"], row["seeds"], row["n_failed"]) == (72.5, (0,), 1)
    without = [r for r in records if r.status == "finished"]  # nor where it never ran
    row = one(summary(without, pool=True), scenario="cifar10-c/*", selection="all")
    assert (row["mean"], row["seeds"]) == (72.5, (0,))


def test_severities_are_families_of_their_own(record: Make) -> None:
    names = ["cifar10-c/fog/3", "cifar10-c/snow/3", FOG, SNOW, "cifar10-flip", "glyphs-c/fog"]
    frame = summary([record(50.0, scenario=name) for name in names], pool=True)
    assert {n for n in frame["scenario"] if "*" in n} == {"cifar10-c/*/3", "cifar10-c/*"}


def test_the_paper_stands_beside_what_it_published_and_nothing_else(record: Make) -> None:
    frame = summary(corrupted(record), pool=True)
    row = one(frame, scenario="cifar10-c/*", selection="block 1")
    assert (row["paper"], row["paper_error"]) == (82.8, 0.6)
    assert row["paper_source"].startswith("Table 4")
    assert frame[frame["scenario"] != "cifar10-c/*"]["paper"].isna().all()
    other = summary(
        [
            record(80.0, scenario="cifar10-flip", selection="all", n_tune=1000, method=m)
            for m in ("surgical", "auto-rgn")
        ],
        by=("method", "selection"),
    )
    assert one(other, method="surgical")["paper"] == 85.9
    assert math.isnan(one(other, method="auto-rgn")["paper"])


def test_paired_difference(record: Make) -> None:
    frame = paired_difference(corrupted(record), a="block 1", b="all")
    fog = one(frame, scenario=FOG)
    assert fog["mean"] == pytest.approx(2.0)  # of 1 and 3
    assert fog["standard_error"] == pytest.approx(1.0)
    assert fog["binomial_error"] == pytest.approx(
        math.sqrt((80 * 20 + 79 * 21 + 84 * 16 + 81 * 19) / 900 / 2)
    )
    both = one(frame, scenario="cifar10-c/*")
    assert both["mean"] == pytest.approx(2.0)  # of (1 + 4) / 2 and (3 + 0) / 2
    assert both["standard_error"] == pytest.approx(0.5)
    assert (both["a"], both["b"], both["n"], both["n_scenarios"]) == ("block 1", "all", 2, 2)
    assert both["paper"] == pytest.approx(2.9)


def test_pairing_removes_what_the_seeds_share(record: Make) -> None:
    offsets = [0.0, 10.0, -15.0]
    records = [record(70 + x, seed=s, selection="all") for s, x in enumerate(offsets)]
    records += [record(72 + x, seed=s) for s, x in enumerate(offsets)]
    row = one(paired_difference(records))
    assert row["mean"] == pytest.approx(2.0)
    assert row["standard_error"] == pytest.approx(0.0, abs=1e-9)


def test_only_seeds_that_have_both_are_paired(record: Make) -> None:
    records = [record(80.0, seed=s) for s in (0, 1)] + [record(70.0, selection="all", seed=1)]
    assert one(paired_difference(records))["seeds"] == (1,)
    with pytest.raises(ValueError, match=r"one of \['block 1', 'all'\], not 'block 7'"):
        paired_difference(records, a="block 7")


def test_further_metrics_stand_beside_the_accuracy(record: Make) -> None:
    """The worst group's accuracy with its standard error; a cost, which does not scatter, without."""
    found = (
        {"worst_group": 50.0, "forward_passes": 1000.0},
        {"worst_group": 54.0, "forward_passes": 1200.0},
    )
    records = [replace(record(80.0, seed=s), metrics=m) for s, m in enumerate(found)]
    row = one(summary(records))
    assert (row["worst_group"], row["worst_group_error"]) == (52.0, pytest.approx(2.0))
    assert row["forward_passes"] == 1100.0 and "forward_passes_error" not in row
    assert "| 52.0 ± 2.0 | 1,100 |" in markdown(summary(records), {})


def test_a_rule_chooses_a_methods_strength_as_it_does_its_rate(record: Make) -> None:
    weak = record(80.0, valid=60.0, method="l1-sp", strength=1e-4)
    strong = record(70.0, valid=65.0, method="l1-sp", strength=1e-2)
    assert one(summary([weak, strong]))["mean"] == 70.0


def test_a_table_survives_being_written_and_read(record: Make, tmp_path: Path) -> None:
    frame = summary([*corrupted(record), record(None, scenario=FOG, n_tune=10)], pool=True)
    settings = company(corrupted(record), profile="embedded", rule="target_valid")
    paths = write_table(frame, tmp_path / "new" / "which_block", settings)
    assert [path.suffix for path in paths] == [".csv", ".md", ".json"]
    again = read_table(tmp_path / "new" / "which_block")
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert json.loads(paths[2].read_text()) == settings


def test_the_same_records_give_the_same_files(record: Make, tmp_path: Path) -> None:
    for folder, records in (("a", corrupted(record)), ("b", corrupted(record)[::-1])):
        write_table(summary(records), tmp_path / folder / "table", company(records))
    for name in ("table.csv", "table.md", "table.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_company_tells_what_is_shared_from_what_differs(record: Make) -> None:
    told = company([*corrupted(record), record(None, seed=7)], profile="cifar")
    assert next(iter(told)) == "profile"
    assert (told["runs"], told["failed"], told["seconds"]) == (9, 1, 16.0)
    assert told["model"] == "resnet14-bn"
    assert told["seed"] == [0, 1, 7]
    assert told["versions"] == {"torch": "2.6"}
    json.dumps(told, allow_nan=False)
