"""The table has every block, its ratios refer to tuning all, and fewer gradients take less time."""

import pytest

from surgicalft.report import throughput as module
from surgicalft.report.tables import read_table
from surgicalft.report.throughput import Case, gigaflops, main, throughput


@pytest.fixture(scope="module")
def table():
    return throughput(Case("resnet8-bn-w8", 32, 8)).set_index("tuned")


def test_every_block_is_there(table):
    assert list(table.index) == ["forward only", "block 1", "block 2", "block 3", "last", "all"]
    assert table.loc["all", "x all"] == 1
    assert (table["x all"] * table.loc["all", "images/s"]).tolist() == pytest.approx(
        table["images/s"].tolist()
    )
    tuned = table.drop(index=["forward only", "all"])
    assert tuned["parameters"].sum() == table.loc["all", "parameters"]
    assert table.loc["forward only", "parameters"] == table.loc["all", "parameters"]


def test_floating_point_operations_are_those_of_the_convolutions():
    """Two for each weight and pixel: three stages of two convolutions, the stem and the head."""
    stages = 32**2 * (8 * 8 * 2) + 16**2 * (8 * 16 + 16 * 16) + 8**2 * (16 * 32 + 32 * 32)
    expected = 2 * (9 * (32**2 * 3 * 8 + stages) + 32 * 10)
    assert gigaflops("resnet8-bn-w8", 32) == pytest.approx(expected / 1e9)


def test_attention_counts_too():
    """Tiny transformer, 17 tokens of width 64, 8 layers: 12 w^2 weights a token, and 2 t w of attention."""
    tokens, width = 17, 64
    layer = tokens * (12 * width**2 + 2 * tokens * width)
    expected = 2 * (8 * layer + 16 * 3 * 8 * 8 * width + width * 64 + 64 * 10)
    assert gigaflops("clip-vit-tiny", 32) == pytest.approx(expected / 1e9, rel=1e-3)


def test_nothing_in_front_of_the_cut_is_computed(table):
    assert table.loc["last", "behind the cut"] > 3 * table.loc["last", "images/s"]


def test_command(monkeypatch, tmp_path, capsys):
    cases = (Case("resnet8-bn-w8", 32, 4, 1), Case("resnet8-gn-w8", 32, 4, 1))
    monkeypatch.setattr(module, "CASES", cases)
    monkeypatch.setattr(module, "project_dir", lambda *parts: tmp_path)
    for model in ("resnet8-gn-w8", "resnet8-bn-w8", "resnet8-gn-w8"):
        main([model])
    found = read_table(tmp_path / "cpu")["model"].tolist()
    assert found == ["resnet8-bn-w8"] * 6 + ["resnet8-gn-w8"] * 6
    assert "processor" in (tmp_path / "cpu.json").read_text()
    with pytest.raises(SystemExit):
        main(["resnet9"])
    assert "unknown models ['resnet9']; legal: ['resnet8-bn-w8'," in capsys.readouterr().err
