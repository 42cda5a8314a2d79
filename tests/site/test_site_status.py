"""Agreement of made-up tables with made-up published numbers."""

import pandas as pd
import pytest

from surgicalft.report.tables import write_table
from surgicalft.site.found import FEW, Pair, find
from surgicalft.site.items import Item
from surgicalft.site.status import Agreement, agreement, beside


def table(ours, paper, error=1.0, **more):
    more = {"paper_error": 0.0, **more}
    return pd.DataFrame({"mean": ours, "standard_error": error, "paper": paper, **more})


def test_hits_and_misses():
    found = agreement(beside(table([10.0, 22.5, 35.0, 1.0], [10.0, 20.0, 30.0, None])))
    assert found == Agreement(3, 3, 1, pytest.approx(7.5 / 3), pytest.approx(1.0))
    assert found.sentence == (
        "3 numbers beside the paper's, 1 of 3 within 2 standard errors, mean difference +2.5, rank correlation +1.00"
    )


def test_the_errors_of_both_add_up_and_reversed_order_shows():
    ours, paper = [0.0, 5.0, 10.0], [10.0, 5.0, 0.0]
    assert (
        agreement(beside(table(ours, paper, error=3.0, paper_error=4.0))).within == 3
    )  # 10 = 2 x 5
    assert agreement(beside(table(ours, paper, error=3.0, paper_error=3.9))).within == 1
    assert agreement(beside(table(ours, paper))).spearman == pytest.approx(-1.0)


@pytest.mark.parametrize("missing", [{"error": None}, {"paper_error": None}])
def test_a_missing_error_is_not_zero(missing):
    found = agreement(beside(table([1.0, 2.0], [1.0, 2.0], **missing).astype(float)))
    assert (found.compared, found.judged, found.within) == (2, 0, 0)
    assert "no standard errors to judge by" in found.sentence


def test_only_the_rows_of_that_source():
    sources = ["Table 1 (a)", "Table 10 (b)"]
    found = agreement(beside(table([1.0, 90.0], [1.0, 1.0], paper_source=sources), "Table 1 "))
    assert (found.compared, found.within) == (1, 1)
    assert found.sentence.startswith("1 number beside")


def test_nothing_to_compare():
    assert agreement(beside(pd.DataFrame({"x": [1]}))) is None
    assert agreement(beside(table([1.0], [float("nan")]))) is None
    with pytest.raises(ValueError, match=r"needs one of \['mean'.*not \['paper'\]"):
        beside(pd.DataFrame({"paper": [1.0]}))


def test_means_over_scenarios_come_first_or_alone_and_rows_are_told_apart():
    scenarios, tuned = ["a/1", "a/1", "a/*", "a/*"], ["last", "all", "last", "all"]
    frame = table([1.0, 2.0, 3.0, 4.0], 0.0, scenario=scenarios, selection=tuned, model="m")
    assert beside(frame)["name"].tolist() == ["a/*, last", "a/*, all", "a/1, last", "a/1, all"]
    assert beside(frame, means=True)["name"].tolist() == ["last", "all"]
    twice = frame.iloc[2:].assign(selection="all", optimizer=["sgd", "adamw"])
    assert beside(twice)["name"].tolist() == ["all, sgd", "all, adamw"]


def test_an_item_shows_its_first_pairs(tmp_path):
    item = Item("Table 77", "made up", "77_made", compared="")
    frame = table([float(k) for k in range(8)], 0.5, selection=[f"block {k}" for k in range(8)])
    frame.loc[1, "paper_error"] = float("nan")
    write_table(frame, tmp_path / "77_made" / "cifar", {"evidence": True})
    found = find(item, tmp_path)
    assert len(found.variants[0].pairs) == 8 and len(found.pairs) < FEW
    assert found.pairs[1] == Pair("block 1", "1.0 ± 1.0", "0.5")
