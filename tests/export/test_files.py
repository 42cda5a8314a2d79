"""Tables as files: what is read back is what was written."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from result_records import by_seed, record

from surgicalft.export import choose_rates, mean_over, pivot, write_data
from surgicalft.export.files import markdown_table
from surgicalft.sweep.frame import to_frame
from surgicalft.sweep.record import Record

RECORDS = [
    record(100 / 3, scenario='größe, "quoted"\nnext ✓', strength=0.1, pretrain={"epochs": 3}),
    record(0.1 + 0.2, seed=1, strength="auto", blocks=["x", "y"]),
    record(seed=2, error="Diverged: the loss is nan", flip=True),
    Record(**{**vars(record(50.0, seed=3)), "valid_loss": math.inf}),
]


def test_csv_round_trip(tmp_path: Path) -> None:
    frame = to_frame(RECORDS)
    write_data(frame, tmp_path / "new folder" / "runs.csv")
    back = pd.read_csv(tmp_path / "new folder" / "runs.csv", float_precision="round_trip")
    assert list(back) == list(frame)
    assert back["test_accuracy"].tolist()[:2] == [100 / 3, 0.1 + 0.2]
    assert back["scenario"][0] == RECORDS[0].settings["scenario"]
    assert math.isnan(back["test_accuracy"][2]) and back["valid_loss"][3] == math.inf


def test_parquet_round_trip(tmp_path: Path) -> None:
    for frame in (to_frame(RECORDS), mean_over(choose_rates(RECORDS)), to_frame([])):
        write_data(frame, tmp_path / "table.parquet")
        back = pd.read_parquet(tmp_path / "table.parquet")
        assert list(back) == list(frame) and len(back) == len(frame)
        for name in frame.select_dtypes("number"):
            pd.testing.assert_series_equal(back[name], frame[name])


def test_parquet_keeps_seeds_as_lists_and_csv_as_words(tmp_path: Path) -> None:
    frame = mean_over(to_frame(by_seed([1.0, 3.0])))
    write_data(frame, tmp_path / "means.parquet")
    assert pd.read_parquet(tmp_path / "means.parquet")["seeds"][0].tolist() == [0, 1]
    write_data(frame, tmp_path / "means.csv")
    assert pd.read_csv(tmp_path / "means.csv")["seeds"][0] == "0 1"
    assert frame["seeds"][0] == (0, 1)  # the table itself is as it was


def test_json_is_strict_and_keeps_types(tmp_path: Path) -> None:
    write_data(to_frame(RECORDS), tmp_path / "runs.json")
    text = (tmp_path / "runs.json").read_text(encoding="utf-8")
    rows = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [row["strength"] for row in rows] == [0.1, "auto", None, None]
    assert [row["epoch"] for row in rows] == [2, 2, None, 2]
    assert rows[0]["test_accuracy"] == 100 / 3 and rows[3]["valid_loss"] == "Infinity"
    assert rows[2]["flip"] is True and rows[0]["error"] == ""
    write_data(mean_over(to_frame(by_seed([1.0, 3.0]))), tmp_path / "means.json")
    assert json.loads((tmp_path / "means.json").read_text())[0]["seeds"] == [0, 1]


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    write_data(to_frame([]), tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text().startswith("id,status,")
    write_data(to_frame([]), tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"one of \['\.csv', '\.parquet', '\.json'\], not '\.xlsx'"
    ):
        write_data(to_frame([]), tmp_path / "new" / "table.xlsx")
    assert not (tmp_path / "new").exists()


def test_markdown_of_means_and_of_a_pivot() -> None:
    frame = mean_over(choose_rates(by_seed([70.0, 72.0]) + by_seed([60.0, 60.0], "all")))
    rows = markdown_table(frame, {"store": "runs.sqlite"})
    assert "| last | 71.0 ± 1.0 |" in rows and "- chosen learning rates: 2 x 0.1" in rows
    assert "- store: runs.sqlite" in rows
    table = markdown_table(frame, {}, pivot(frame, ["scenario"], "selection"))
    assert table.splitlines()[0] == "| scenario | last | all |"
    assert table.splitlines()[2] == "| glyphs-flip | **71.0 ± 1.0** | 60.0 ± 0.0 |"
    assert "Bold: the best selection" in table
