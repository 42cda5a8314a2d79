"""The table has every block, its ratios refer to tuning all, and fewer gradients take less time."""

import pytest

from surgicalft.report import throughput as module
from surgicalft.report.tables import read_table
from surgicalft.report.throughput import Case, main, throughput


@pytest.fixture(scope="module")
def table():
    return throughput(Case("resnet8-bn-w8", 32, 8), repeats=3).set_index("tuned")


def test_every_block_is_there(table):
    assert list(table.index) == ["forward only", "block 1", "block 2", "block 3", "last", "all"]
    assert table.loc["all", "x all"] == 1
    assert (table["x all"] * table.loc["all", "images/s"]).tolist() == pytest.approx(
        table["images/s"].tolist()
    )
    tuned = table.drop(index=["forward only", "all"])
    assert tuned["parameters"].sum() == table.loc["all", "parameters"]
    assert table.loc["forward only", "parameters"] == table.loc["all", "parameters"]


def test_floating_point_operations_are_those_of_the_convolutions(table):
    """Two for each weight and pixel: three stages of two convolutions, the stem and the head."""
    stages = 32**2 * (8 * 8 * 2) + 16**2 * (8 * 16 + 16 * 16) + 8**2 * (16 * 32 + 32 * 32)
    expected = 2 * (9 * (32**2 * 3 * 8 + stages) + 32 * 10)
    assert table.loc["forward only", "GFLOP per image"] == pytest.approx(expected / 1e9)


def test_nothing_in_front_of_the_cut_is_computed(table):
    assert table.loc["last", "behind the cut"] > 3 * table.loc["last", "images/s"]


def test_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "CASES", (Case("resnet8-bn-w8", 32, 4), Case("other", 32, 4)))
    monkeypatch.setattr(module, "project_dir", lambda *parts: tmp_path)
    main(["resnet8-bn-w8", "--repeats", "1"])
    assert len(read_table(tmp_path / "cpu")) == 6
    assert "processor" in (tmp_path / "cpu.json").read_text()
    with pytest.raises(SystemExit):
        main(["resnet9"])
    assert (
        "unknown models ['resnet9']; legal: ['resnet8-bn-w8', 'other']" in capsys.readouterr().err
    )
