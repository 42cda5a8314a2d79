"""Records as runs of MLflow, in a local database of its own."""

import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from result_records import by_seed, record

from surgicalft.export import to_mlflow
from surgicalft.export.mlflow_runs import Exported
from surgicalft.sweep.record import Record

# MLflow's own tables, under SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
HISTORY = [
    {"train_loss": 0.5, "valid_accuracy": 40.0, "rates": [1.0, 0.5], "selection": "last"},
    {"train_loss": math.nan, "valid_accuracy": 60.0, "stopped": True},
]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow, which takes seconds to make."""
    for library in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(library, reason="the extra `mlflow` is not installed")
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        to_mlflow([], f"sqlite:///{path}", "Default")
    return path


@pytest.fixture
def client(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def runs(client: Any, experiment: str = "surgicalft") -> dict[str, Any]:
    """The runs of an experiment by the identity of their record."""
    place = client.get_experiment_by_name(experiment)
    found = client.search_runs([place.experiment_id])
    by_id = {run.data.tags["surgicalft.id"]: run for run in found}
    assert len(by_id) == len(found)
    return by_id


def test_a_record_is_a_run(client: Any, tmp_path: Path) -> None:
    more = {"history": HISTORY, "metrics": {"worst_group": 31.0}}
    one = Record(
        **{
            **vars(record(50.0, pretrain={"epochs": 3, "seed": 0}, blocks=["x"], without="")),
            **more,
        }
    )
    assert to_mlflow([one], client.tracking_uri, "letters") == Exported(new=1)
    run = runs(client, "letters")[one.id]
    assert run.info.status == "FINISHED" and run.info.run_name == one.id
    assert run.info.end_time - run.info.start_time == 2000
    assert run.data.params == {
        **{"scenario": "glyphs-flip", "selection": "last", "learning_rate": "0.1", "seed": "0"},
        **{"pretrain.epochs": "3", "pretrain.seed": "0", "blocks": '["x"]', "without": ""},
    }
    shown = {n: v for n, v in run.data.metrics.items() if not n.startswith("history/")}
    assert shown == {
        **{"epoch": 2.0, "valid_accuracy": 50.0, "valid_loss": 1.0, "test_accuracy": 50.0},
        **{"n_test": 900.0, "wall_time": 2.0, "worst_group": 31.0},
    }
    assert {
        "history/train_loss",
        "history/valid_accuracy",
    } == run.data.metrics.keys() - shown.keys()
    history = client.get_metric_history(run.info.run_id, "history/valid_accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(1, 40.0), (2, 60.0)]
    losses = client.get_metric_history(run.info.run_id, "history/train_loss")
    assert losses[0].value == 0.5 and math.isnan(losses[1].value)
    tags = {n.partition(".")[2]: t for n, t in run.data.tags.items() if n.startswith("surgicalft.")}
    assert tags.pop("digest") and tags == {
        **{"id": one.id, "status": "finished", "device": "cpu", "provenance": "embedded"},
        **{"created": one.created, "versions.torch": "2.6"},
    }
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]  # nothing else is left here


def test_exporting_again_changes_nothing(client: Any) -> None:
    records = by_seed([10.0, 20.0, 30.0])
    assert to_mlflow(records[:2], client.tracking_uri) == Exported(new=2)
    before = {id: run.info.run_id for id, run in runs(client).items()}
    assert to_mlflow(records, client.tracking_uri) == Exported(new=1, unchanged=2)
    after = {id: run.info.run_id for id, run in runs(client).items()}
    assert len(after) == 3 and before.items() <= after.items()


def test_a_failed_run_is_failed_until_it_is_repeated(client: Any) -> None:
    failed = record(error="Diverged: the loss is nan")
    to_mlflow([failed], client.tracking_uri)
    run = runs(client)[failed.id]
    assert run.info.status == "FAILED"
    assert run.data.tags["surgicalft.error"] == "Diverged: the loss is nan"
    repeated = record(50.0)
    assert repeated.id == failed.id
    assert to_mlflow([repeated], client.tracking_uri) == Exported(replaced=1)
    assert runs(client)[failed.id].info.status == "FINISHED"


def test_an_interrupted_export_is_made_whole(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    one = record(50.0)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            to_mlflow([one], client.tracking_uri)
    assert runs(client)[one.id].info.status == "RUNNING"
    assert to_mlflow([one], client.tracking_uri) == Exported(replaced=1)
    assert runs(client)[one.id].data.metrics["test_accuracy"] == 50.0


def test_long_histories_and_many_settings(client: Any) -> None:
    history = [{"loss": 1.0 / step, "accuracy": float(step)} for step in range(1, 1201)]
    settings = {f"s{i}": i for i in range(250)}
    one = Record(**{**vars(record(50.0, **settings)), "history": history})
    to_mlflow([one], client.tracking_uri)
    run = runs(client)[one.id]
    assert len(run.data.params) == 254
    found = client.get_metric_history(run.info.run_id, "history/accuracy")
    assert sorted(metric.step for metric in found) == list(range(1, 1201))


def test_a_deleted_experiment_is_named(client: Any) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ValueError, match="experiment 'gone' was deleted"):
        to_mlflow([], client.tracking_uri, "gone")


def test_what_mlflow_says_is_passed_on(client: Any) -> None:
    with pytest.raises(RuntimeError, match=r"MLflow at nonsense://x: "):
        to_mlflow([], "nonsense://x")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "surgicalft\[mlflow\]"'):
        to_mlflow([], "sqlite:///x.db")
