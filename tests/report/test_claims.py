"""The verdict on a block: chosen by validation, judged on test, in units of its uncertainty."""

import pytest

from surgicalft.report.claims import best_block, validation_means, verdict
from surgicalft.runs import Run
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.store import Store


def records(tmp_path, test, valid, scenario="glyphs-flip", n_test=10_000):
    """Records of two seeds with these accuracies by selection."""
    runs = [Run(scenario, "memo-resnet26-gn", name, 0.1, seed=s) for name in test for s in (0, 1)]

    def execute(run):
        return {
            "valid_accuracy": valid[run.selection],
            "valid_loss": 1.0,
            "test_accuracy": test[run.selection] + 0.1 * run.seed,
            "n_test": n_test,
        }

    with Store(tmp_path / "runs.sqlite") as store:
        return run_all(runs, store, execute, progress=False)


def test_validation_chooses_even_where_test_would_choose_otherwise(tmp_path):
    made = records(
        tmp_path,
        test={"block 1": 90.0, "last": 80.0, "all": 70.0},
        valid={"block 1": 50.0, "last": 60.0, "all": 99.0},
    )
    (row,) = best_block(made).to_dict("records")
    assert row["chosen block"] == "last" and row["difference"] == pytest.approx(10)
    assert row["verdict"] == "block wins" and row["as the paper"] is True
    assert validation_means(made) == {"block 1": 50.0, "last": 60.0, "all": 99.0}


def test_a_small_test_split_decides_nothing(tmp_path):
    made = records(
        tmp_path, {"block 1": 71.0, "all": 70.0}, {"block 1": 60.0, "all": 50.0}, n_test=100
    )
    (row,) = best_block(made).to_dict("records")
    assert row["error"] > 4 and row["verdict"] == "level" and row["as the paper"] is False


@pytest.mark.parametrize(
    ("difference", "error", "expected"),
    [(2.1, 1, "block wins"), (-2.1, 1, "all wins"), (1.9, 1, "level"), (0, 0, "level")],
)
def test_verdict(difference, error, expected):
    assert verdict(difference, error) == expected
