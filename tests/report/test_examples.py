"""Figure 1: a row per scenario, source left, target right; and the table beside it."""

import pytest

from surgicalft.report.examples import shift_examples, shift_table
from surgicalft.report.style import save


def test_every_scenario_has_its_row(tmp_path):
    names = ["glyphs-c/fog", "glyphs-case", "glyphs-flip"]
    figure = shift_examples(names, count=3, profile="embedded")
    assert save(figure, tmp_path / "figure").stat().st_size > 10_000
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 3 * 6
    texts = {text.get_text() for text in figure.texts}
    assert {"source", "target"} <= texts and any("not evidence" in text for text in texts)
    titles = [axes.get_title(loc="left") for axes in shown[:6]]
    assert titles == ["y = 0", "y = 4", "y = 9"] * 2


def test_more_images_than_classes_repeat_them():
    figure = shift_examples(["glyphs-flip"], count=12)
    assert len([axes for axes in figure.axes if axes.images]) == 24


def test_table():
    table = shift_table(["glyphs-c/contrast", "glyphs-flip", "glyphs-background"]).set_index(
        "scenario"
    )
    assert table["kind"].tolist() == ["input", "output", "output"]
    assert table["groups"].tolist() == [0, 0, 20]
    assert table.loc["glyphs-c/contrast", "told apart"] > 90
    assert table.loc["glyphs-flip", "told apart"] == pytest.approx(50, abs=4)
    assert set(table["target images"]) == {3000} and set(table["classes"]) == {10}
