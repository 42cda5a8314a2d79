"""The table of both precisions, on made-up records."""

from dataclasses import replace

import pytest

from surgicalft.report.precision import Pair, chosen, precision_runs, precision_table
from surgicalft.sweep.record import Record


def record(selection, rate, valid, test, seed=0):
    settings = {"scenario": "a", "selection": selection, "seed": seed, "learning_rate": rate}
    name = f"{selection}/{rate}/{seed}/{test}"
    known = {"valid_accuracy": valid, "valid_loss": 1.0, "test_accuracy": test}
    return Record(name, settings, "finished", **known)


PAIRS = [
    Pair(record("all", 0.1, 50.0, 40.0), record("all", 0.1, 60.0, 44.0)),
    Pair(record("all", 0.2, 55.0, 50.0), record("all", 0.2, 59.0, 52.0)),
    Pair(record("last", 0.1, 70.0, 70.0), record("last", 0.1, 70.0, 69.0)),
]


def test_differences_are_paired_and_carry_their_error():
    table = precision_table(PAIRS).set_index(["of", "selection"])
    every = table.loc["every run", "all"]
    assert (every["n"], every["float32"], every["bfloat16"]) == (2, 45.0, 48.0)
    assert every["difference"] == 3.0 and every["error"] == pytest.approx(1.0)  # of 4 and 2
    total = table.loc["every run", "every selection"]
    assert total["n"] == 3 and total["difference"] == pytest.approx(5 / 3)


def test_each_precision_chooses_its_own_rate():
    among, last = chosen(PAIRS)
    assert among.single.settings["learning_rate"] == 0.2
    assert among.half.settings["learning_rate"] == 0.1
    assert last.half is PAIRS[2].half
    table = precision_table(PAIRS).set_index(["of", "selection"])
    assert table.loc["chosen", "all"]["difference"] == -6.0


def test_a_failed_run_is_left_out_with_its_partner():
    broken = replace(PAIRS[0].half, status="failed", test_accuracy=None)
    table = precision_table([Pair(PAIRS[0].single, broken), *PAIRS[1:]])
    assert table.set_index(["of", "selection"]).loc["every run", "all"]["n"] == 1


def test_the_runs_are_those_of_table_4():
    runs = precision_runs("cifar")
    assert len(runs) == len(set(runs)) == 100
    assert {run.precision for run in runs} == {"float32"} and {run.n_tune for run in runs} == {200}
