"""Figures 5 and 6: every option, damage and tensor is drawn, in its colour; the status says what it is."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from surgicalft.report.planted_figures import accumulated_weights, which_repairs
from surgicalft.report.style import look, save

OPTIONS = ("block 1", "last", "all", "none", "auto-rgn")


def repairs(models=("resnet26-bn",), scenario="cifar10-jpeg-clean"):
    """Of damage in block 1 and last, the accuracy of an option is 50 plus its place."""
    rows = [
        {
            **{"model": model, "scenario": scenario, "damaged": damaged, "selection": name},
            **{"mean": 50.0 + i, "standard_error": 1.0, "binomial_error": 2.0, "n": 2},
            **{"n_tune": 200, "n_failed": 0, "n_scenarios": 1, "rule": "target_valid"},
            **{"device": "cpu", "provenance": "made by hand"},
        }
        for model in models
        for damaged in ("none", "block 1", "last")
        for i, name in enumerate(OPTIONS if damaged != "none" else ("none",))
    ]
    return pd.DataFrame(rows)


def tensors(options=("auto-rgn",), damaged=("none", "block 1")):
    rows = [
        {
            **{"model": "resnet8-bn", "scenario": "glyphs-clean", "option": option, "seed": seed},
            **{"damaged": where, "block": "block 1" if i < 3 else "last", "tensor": f"t{i}"},
            **{"position": i, "weight": float(i + seed)},
        }
        for option in options
        for where in damaged
        for seed in (0, 2)
        for i in range(5)
    ]
    return pd.DataFrame(rows)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_panel_per_damage_and_model(tmp_path):
    figure = which_repairs(repairs(("resnet26-bn", "memo-resnet26-gn")), "cifar")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        *("damage in block 1", "damage in last", "", "")
    ]
    left = figure.axes[0]
    names = [label.get_text() for label in left.get_xticklabels()]
    assert names == [name for name in OPTIONS if name != "none"]
    assert texts(left) == ["50.0", "51.0", "52.0", "54.0", "no tuning 53.0", "undamaged 50.0"]
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[::2]] == [
        *("resnet26-bn", "memo-resnet26-gn")
    ]
    words = " ".join(text.get_text() for text in figure.texts)
    assert "real data: evidence" in words and "profile cifar" in words and "200 target" in words
    path = save(figure, tmp_path / "five")
    assert path.read_bytes() == save(figure, tmp_path / "again").read_bytes()


def test_the_damaged_block_is_marked():
    for axes, place in zip(which_repairs(repairs()).axes, (0, 1), strict=True):
        (band,) = axes.patches
        assert band.get_x() < place < band.get_x() + band.get_width()


def test_every_tensor_in_its_blocks_colour():
    figure = accumulated_weights(tensors(), "embedded")
    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "no damage",
        "damage in block 1",
    ]
    heights = [bar.get_height() for bar in left.patches]
    assert heights == [1, 2, 3, 4, 5], "means over seeds 0 and 2"
    colours = [to_hex(bar.get_facecolor()).upper() for bar in right.patches]
    assert colours == [look("block 1")[0]] * 3 + [look("last")[0]] * 2
    words = " ".join(text.get_text() for text in figure.texts)
    assert "embedded data: a demonstration" in words and "mean over 2 seeds" in words
    assert "authors' code" not in words


def test_variants_are_rows():
    figure = accumulated_weights(tensors(("auto-rgn", "auto-rgn code")))
    assert len(figure.axes) == 4
    assert "auto-rgn code" in figure.axes[2].get_ylabel()
    assert "authors' code" in " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("draw", [which_repairs, accumulated_weights])
def test_one_seed_without_a_control(draw, tmp_path):
    frame = repairs() if draw is which_repairs else tensors(damaged=("block 1",))
    frame = frame[frame["damaged"] == "block 1"].assign(n=1, standard_error=float("nan"))
    figure = draw(frame)
    assert len(figure.axes) == 1
    assert save(figure, tmp_path / "one").stat().st_size > 1000
