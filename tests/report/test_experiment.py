"""What notebooks share: runs are kept, files are named by profile, and stand-ins say that they are."""

import pytest

from surgicalft.executor import Executor
from surgicalft.report.experiment import STAND_IN, Experiment
from surgicalft.report.tables import read_table, summary
from surgicalft.runs import Run


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SURGICALFT_CLUSTER", raising=False)
    return Experiment.begin("NN_topic", "embedded", progress=False)


@pytest.mark.parametrize("cluster", ["", "local", "tcp://scheduler:8786"])
def test_the_environment_says_where_runs_are_computed(experiment, monkeypatch, cluster):
    asked = []
    monkeypatch.setenv("SURGICALFT_CLUSTER", cluster)
    monkeypatch.setattr(
        "surgicalft.report.experiment.run_all", lambda *runs, **how: asked.append(how) or []
    )
    there = Experiment.begin("NN_topic", "embedded", progress=False)
    there.run([])
    assert asked[0]["cluster"] == cluster and experiment.cluster == ""


def test_runs_are_executed_once_and_written_by_profile(experiment, tmp_path, monkeypatch):
    runs = [
        Run("glyphs-flip", "memo-resnet26-gn", name, 0.0, n_tune=20) for name in ("last", "all")
    ]
    outcome = {
        **{"history": [], "epoch": 0, "valid_accuracy": 50.0, "valid_loss": 1.0},
        **{"test_accuracy": 40.0, "n_test": 10, "provenance": "made", "device": "cpu"},
    }
    calls = []
    monkeypatch.setattr(Executor, "prepare", lambda self, runs: None)
    monkeypatch.setattr(Executor, "__call__", lambda self, run: calls.append(run) or outcome)
    records = experiment.run(runs)
    assert experiment.run(runs) == records and len(calls) == 2
    about = experiment.company(records)
    assert (about["profile"], about["evidence"], about["rule"]) == (
        "embedded",
        False,
        "target_valid",
    )
    text = experiment.table(summary(records), about)
    assert "| last |" in text and "profile: embedded" in text
    folder = tmp_path / "figures" / "NN_topic"
    assert len(read_table(folder / "embedded")) == 2
    assert "profile" not in experiment.table(summary(records), about, "part")
    assert (folder / "embedded-part.md").read_text().endswith("\n")
    assert experiment.headline(runs) == (
        f"**Profile `embedded`.** {STAND_IN}. Scenarios: glyphs-flip."
    )


def test_real_images_are_called_so():
    assert Experiment.begin("NN_topic", "cifar").status == "Real images"
    with pytest.raises(ValueError, match="profile must be one of"):
        Experiment.begin("NN_topic", "huge")
