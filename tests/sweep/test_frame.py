"""Records as a table and as files."""

import math
from pathlib import Path

import pandas as pd
import pytest

from surgicalft.sweep.frame import to_frame
from surgicalft.sweep.store import Record, Store

PRETRAIN = {"epochs": 3, "seed": 0}
RECORDS = [
    Record(
        "a",
        {"scenario": "glyphs-flip", "seed": 0, "pretrain": PRETRAIN, "strength": 0.1},
        "finished",
        history=[{"train_loss": 0.5}],
        epoch=4,
        valid_accuracy=100 / 3,
        valid_loss=0.1 + 0.2,
        test_accuracy=61.5,
        n_test=1000,
        device="cpu",
        versions={"torch": "2.6"},
    ),
    Record(
        "b",
        {
            "scenario": "glyphs-case",
            "seed": 1,
            "pretrain": None,
            "strength": "auto",
            "blocks": ["x", "y"],
            "device": "cuda",
        },
        "failed",
        error="DivergenceError: the loss is nan",
        valid_loss=math.nan,
    ),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results.sqlite")
    for record in RECORDS:
        store.put(record)
    return store


def test_one_row_per_record_and_one_column_per_setting(store: Store) -> None:
    frame = store.frame()
    assert list(frame["id"]) == ["a", "b"]
    assert list(frame.columns[:4]) == ["id", "status", "scenario", "seed"]
    assert "history" not in frame and "settings" not in frame
    first, second = frame.iloc[0], frame.iloc[1]
    assert first["pretrain.epochs"] == 3 and math.isnan(second["pretrain.epochs"])
    assert first["versions.torch"] == "2.6" and first["seed"] == 0
    assert second["blocks"] == '["x", "y"]'
    assert second["device"] == "" and second["settings.device"] == "cuda"
    assert second["error"] == "DivergenceError: the loss is nan"


def test_types_of_the_outcome(store: Store) -> None:
    frame = store.frame()
    assert frame["valid_accuracy"].tolist()[0] == 100 / 3 and frame["test_accuracy"].isna()[1]
    assert frame["valid_accuracy"].dtype == frame["wall_time"].dtype == "float64"
    assert frame["epoch"].dtype == frame["n_test"].dtype == "Int64"
    assert frame["epoch"][0] == 4 and frame["epoch"][1] is pd.NA


def test_an_empty_store_has_the_columns_of_the_outcome() -> None:
    frame = to_frame([])
    assert len(frame) == 0 and {"id", "status", "test_accuracy", "epoch"} <= set(frame.columns)


def test_csv_keeps_every_digit(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "table.csv")
    back = pd.read_csv(tmp_path / "table.csv", float_precision="round_trip")
    assert list(back.columns) == list(store.frame().columns)
    assert back["valid_accuracy"][0] == 100 / 3 and back["valid_loss"][0] == 0.1 + 0.2


def test_parquet_keeps_types_even_of_mixed_settings(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "table.parquet")
    back = pd.read_parquet(tmp_path / "table.parquet")
    assert back["strength"].tolist() == ["0.1", "auto"]
    assert back["seed"].tolist() == [0, 1] and back["valid_accuracy"][0] == 100 / 3
    assert back["epoch"].dtype == "Int64"


def test_another_suffix_names_the_legal_ones(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.csv.*\.parquet.*'\.xlsx'"):
        store.export(tmp_path / "table.xlsx")
    assert not (tmp_path / "table.xlsx").exists()
