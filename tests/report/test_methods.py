"""Table 4 from records made by hand, and from the paper's own numbers."""

import math

import pandas as pd
import pytest
from option_records import run, scenario

from surgicalft.report.markdown import markdown
from surgicalft.report.methods import average_ranks, columns, method_table, notes, wide_table
from surgicalft.report.paper import TABLES
from surgicalft.report.tables import read_table, write_table


def one(frame, **values):
    """The only row with these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_means_and_errors_over_seeds():
    records = [run(value, seed=seed) for seed, value in enumerate((80.0, 82.0, 87.0))]
    row = one(method_table(records), option="All")
    assert row["mean"] == pytest.approx(83)
    assert row["standard_error"] == pytest.approx(math.sqrt(26 / 2 / 3))
    assert (row["n"], row["seeds"], row["n_test"], row["n_scenarios"]) == (3, (0, 1, 2), 900, 1)
    assert (row["rule"], row["device"], row["provenance"]) == (
        "target_valid",
        "cpu",
        "made by hand",
    )
    assert row["chosen"] == "3 x all"


def test_one_seed_has_a_binomial_error_only():
    row = one(method_table([run(80.0)]))
    assert math.isnan(row["standard_error"])
    assert row["binomial_error"] == pytest.approx(math.sqrt(80 * 20 / 900))


def test_families_are_pooled_within_seeds_that_are_complete():
    records = [
        run(value, passes, scenario=f"cifar10-c/{name}/5", seed=seed)
        for name, seed, value, passes in (
            *(("fog", 0, 70.0, 10.0), ("snow", 0, 80.0, 20.0), ("fog", 1, 71.0, 10.0)),
            *(("snow", 1, 85.0, 20.0), ("fog", 2, 99.0, 10.0)),
        )
    ]
    table = method_table(records)
    row = one(table, scenario="cifar10-c/*/5")
    assert (row["mean"], row["n"], row["seeds"], row["n_scenarios"]) == (76.5, 2, (0, 1), 2)
    assert row["cost"] == 1.0
    variance = (75 * 0 + (70 * 30 + 80 * 20) / 4 + (71 * 29 + 85 * 15) / 4) / 2 / 900
    assert row["binomial_error"] == pytest.approx(math.sqrt(variance))
    assert columns(table) == ["cifar10-c/*/5"]
    assert "cifar10-c/fog/5" in set(table["scenario"])


def test_a_family_of_one_is_itself():
    table = method_table([run(70.0, scenario="glyphs-c/fog"), run(60.0, scenario="glyphs-flip")])
    assert columns(table) == ["glyphs-c/fog", "glyphs-flip"]


def test_ranks_share_ties_and_leave_out_what_is_incomplete():
    means = pd.DataFrame(
        {"a": [3.0, 2.0, 2.0, 9.0], "b": [1.0, 2.0, 3.0, math.nan]}, index=["p", "q", "r", "s"]
    )
    ranks = average_ranks(means)
    assert ranks[:3].to_dict() == {"p": 2.0, "q": 2.25, "r": 1.75} and math.isnan(ranks["s"])


def test_ranks_of_the_paper_s_own_accuracies():
    """Ties sharing their mean rank, Table 4 ranks Auto-RGN first; its printed ranks follow from no rule for ties."""
    table = TABLES[4]
    rows = table.rows[2:]
    means = pd.DataFrame(
        {c: {r: table.cells[r, c].value for r in rows} for c in table.columns[:-1]}
    )
    ranks = average_ranks(means)
    expected = {"Auto-RGN": 10.5 / 7, "All": 19.5 / 7, "L1 Regularize": 22 / 7, "Auto-SNR": 30 / 7}
    expected |= {"Gradual Last-First": 30.5 / 7, "Gradual First-Last": 34.5 / 7}
    assert ranks.to_dict() == pytest.approx(expected)
    assert ranks.sum() == pytest.approx(21)  # 1 + ... + 6
    printed = {row: table.cells[row, "Avg Rank"].value for row in rows}
    for method in ("average", "min", "max"):
        other = means.rank(ascending=False, method=method).mean(axis=1).round(2)
        assert other.to_dict() != pytest.approx(printed, abs=0.01)


def test_average_ranks_in_the_table():
    records = [
        *scenario(
            "glyphs-case", No_Adaptation=10.0, Cross_Val=90.0, All=70.0, Auto_RGN=80.0, Halving=85.0
        ),
        *scenario(
            "glyphs-flip", No_Adaptation=10.0, Cross_Val=90.0, All=70.0, Auto_RGN=60.0, Halving=85.0
        ),
    ]
    table = method_table(records).drop_duplicates("option").set_index("option")
    assert table["average_rank"].dropna().to_dict() == {"All": 1.5, "Auto-RGN": 1.5}
    assert table["rank_of_all"].dropna().to_dict() == {"All": 2.5, "Auto-RGN": 2.5, "Halving": 1.0}
    assert table.loc["Auto-RGN", "paper_rank"] == 1.29 and math.isnan(
        table.loc["Halving", "paper_rank"]
    )


def test_a_method_that_lacks_a_scenario_has_no_rank():
    records = [
        *scenario("glyphs-case", All=70.0, Auto_RGN=80.0),
        *scenario("glyphs-flip", All=70.0),
    ]
    table = method_table(records).drop_duplicates("option").set_index("option")
    assert table["average_rank"].to_dict() == pytest.approx(
        {"All": 1.0, "Auto-RGN": math.nan}, nan_ok=True
    )


@pytest.mark.parametrize(
    ("names", "value", "error"),
    [
        (("cifar10-jpeg-flip",), 93.8, 0.1),
        (("cifar10-c/fog", "cifar10-c/snow"), 82.8, 0.6),
        (("glyphs-c/fog", "glyphs-c/snow"), math.nan, math.nan),
        (("cifar10-c/fog/3", "cifar10-c/snow/3"), math.nan, math.nan),
    ],
)
def test_the_paper_s_value_stands_beside_means_of_cifar_c_and_cifar_flip(names, value, error):
    table = method_table([record for name in names for record in scenario(name, Cross_Val=80.0)])
    row = table.iloc[-1] if len(names) == 1 else one(table, n_scenarios=2)
    assert (row["paper"], row["paper_error"]) == pytest.approx((value, error), nan_ok=True)
    if len(names) > 1:
        assert table[table["n_scenarios"] == 1]["paper"].isna().all()


def test_the_wide_table_as_people_read_it():
    records = [
        record
        for seed, shift in enumerate((-1.0, 1.0))
        for name in ("cifar10-c/fog", "cifar10-c/snow", "cifar10-flip")
        for record in scenario(name, seed, Cross_Val=80 + shift, All=70 + shift, Halving=75 + shift)
    ]
    wide = wide_table(method_table(records)).set_index("method")
    assert list(wide.index) == ["Cross-Val", "All", "Halving"]
    assert wide.loc["All", "cifar10-c/*"] == "70.0 ± 1.0"
    assert list(wide["paper, cifar10-c (1,000 images)"]) == ["82.8 ± 0.6", "79.9 ± 0.7", "-"]
    assert wide.loc["All", "paper's average rank"] == "2.71"
    assert wide.loc["Halving", "rank among all"] == "1.00"
    assert list(wide["cost"]) == ["1.00"] * 3
    text = markdown(wide.reset_index(), notes(records, table=method_table(records)))
    assert "| Halving | 75.0 ± 1.0 | - |" in text and "no rule for ties" in text


def test_columns_of_the_paper_stay_away_where_it_has_no_number():
    wide = wide_table(method_table(scenario("glyphs-flip", All=70.0, Halving=70.0)))
    assert not [name for name in wide if name.startswith("paper,")]


def test_two_models_on_one_scenario_do_not_fit_one_wide_table():
    table = method_table([run(70.0)])
    with pytest.raises(ValueError, match="glyphs-case is there twice; keep one model"):
        wide_table(pd.concat([table, table.assign(model="other")]))


def test_the_long_table_is_written_with_every_digit(tmp_path):
    table = method_table(scenario("cifar10-flip", All=70.0 / 3, Cross_Val=80.0))
    write_table(table, tmp_path / "long", {"rule": "target_valid"})
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "long")[["mean", "paper"]], table[["mean", "paper"]]
    )


def test_notes_name_what_is_missing_failed_and_different():
    records = [
        *(run(70.0, learning_rate=rate) for rate in (1e-3, 1e-4)),
        *(run(60.0, None, selection="last", learning_rate=rate) for rate in (0.1, 0.01)),
        *(run(50.0, selection="block 1+last", learning_rate=rate) for rate in (1e-3, 1e-4)),
        *(run(None, method="auto-rgn", learning_rate=rate) for rate in (1e-3, 1e-4)),
        run(65.0, method="halving", learning_rate=0.0, rates=[1e-3, 1e-4]),
        run(10.0, selection="none", learning_rate=0.0, epochs=0),
    ]
    found = notes(records)
    assert "Auto-SNR" in found["methods without runs, left out"].split(", ")
    assert "Auto-RGN" not in found["methods without runs, left out"].split(", ")
    assert found["runs of no method in the table"] == "2 x surgical block 1+last"
    assert found["failed runs"] == "Auto-RGN 2"
    assert found["finished runs whose cost was not recorded"] == "2"
    assert found["other learning rates than full fine-tuning's"] == (
        "Cross-Val (last): 0.01, 0.1; Last layer (last): 0.01, 0.1"
    )
    assert "the paper's values" not in found
