"""Figures, by what is drawn in them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surgicalft.report.figures import accuracy_against_images, apart, which_block
from surgicalft.report.style import look, save
from surgicalft.report.tables import summary
from surgicalft.sweep.record import Record

Make = Callable[..., Record]
OPTIONS = {"block 1": 83.0, "block 2": 81.0, "last": 76.0, "all": 80.0, "none": 53.0}


def records(make: Make, *scenarios: str, images: tuple[int, ...] = (1000,)) -> list[Record]:
    return [
        make(mean + spread + math.log10(n), scenario=scenario, selection=name, n_tune=n, seed=seed)
        for scenario in scenarios
        for n in images
        for name, mean in OPTIONS.items()
        for seed, spread in enumerate((-0.6, 0.0, 0.6))
    ]


def line_data(line: Line2D) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def points(axes: Axes) -> list[tuple[float, float, float]]:
    """(x, y, half the error bar) of every point with an error bar, in the order drawn."""
    found = []
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container.lines
        for x, y, bar in zip(*line_data(line), bars.get_segments(), strict=True):
            found.append((float(x), float(y), float(bar[1, 1] - bar[0, 1]) / 2))
    return found


def texts(figure: Figure) -> str:
    """All that is written, outside and inside the axes."""
    parts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        parts += [text.get_text() for text in axes.texts]
        parts += [axes.get_title("left"), axes.get_title("right"), axes.get_xlabel()]
    return "\n".join(parts)


def test_which_block_draws_each_option_with_its_standard_error(record: Make) -> None:
    table = summary(records(record, "cifar10-c/gaussian_noise"))
    (axes,) = which_block(table).axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["block 1", "block 2", "last", "all"]
    error = 0.6 / math.sqrt(3)
    expected = [(i, OPTIONS[name] + 3, error) for i, name in enumerate(ticks)]
    np.testing.assert_allclose(points(axes), expected)
    assert [text.get_text() for text in axes.texts[:4]] == ["86.0", "84.0", "79.0", "83.0"]
    assert (axes.get_title("left"), axes.get_title("right")) == ("gaussian noise", "cifar10-c")


def test_the_levels_of_all_and_of_no_tuning(record: Make) -> None:
    def make(mean: float) -> Axes:
        rows = [record(80.0, selection="all"), record(75.0), record(mean, selection="none")]
        return which_block(summary(rows)).axes[0]

    def levels(axes: Axes) -> set[float]:
        lines = [line for line in axes.lines if line.get_linestyle() in ("--", ":")]
        return {float(line_data(line)[1][0]) for line in lines}

    assert levels(make(74.0)) == {80.0, 74.0}
    far = make(20.0)  # a line would press the rest together
    assert levels(far) == {80.0}
    assert "no tuning 20.0 ↓" in [text.get_text() for text in far.texts]
    assert far.get_ylim()[0] > 60


def test_the_paper_s_values_are_drawn_where_there_are_any(record: Make) -> None:
    table = summary(records(record, "cifar10-c/fog", "cifar10-c/snow"), pool=True)
    figure = which_block(table)
    mean, fog, snow = figure.axes
    assert mean.get_title("left") == "mean of 2"
    diamonds = [point for point in points(mean) if point[0] % 1]
    np.testing.assert_allclose([p[1:] for p in diamonds], [(82.8, 0.6), (79.9, 0.7)])
    assert len(points(fog)) == len(points(snow)) == 4
    assert "the paper, Table 4 (of corruptions: the mean of its 14)" in texts(figure)
    assert "the paper" not in texts(which_block(summary(records(record, "glyphs-c/fog"))))


def test_relative_bars_start_at_tuning_all(record: Make) -> None:
    table = summary(records(record, "cifar10-c/fog", "cifar10-c/snow"), pool=True)
    axes = which_block(table, relative=True).axes[0]
    bars = [c.patches[0] for c in axes.containers if isinstance(c, BarContainer)]
    np.testing.assert_allclose([bar.get_height() for bar in bars], [3.0, 1.0, -4.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["block 1", "block 2", "last"]
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["+3.0", "+1.0", "-4.0", "all\n83.0"]
    assert axes.get_xlabel() == "no tuning -27.0"
    paper = [line for line in axes.lines if line.get_marker() == "D"]
    assert [line_data(line)[1][0] for line in paper] == [pytest.approx(82.8 - 79.9)]
    with pytest.raises(ValueError, match="glyphs-c/fog: no run of 'all'"):
        which_block(summary([record(80.0)]), relative=True)


def test_accuracy_against_images_has_a_line_per_option(record: Make) -> None:
    table = summary(records(record, "glyphs-c/fog", images=(10, 100, 1000)))
    (axes,) = accuracy_against_images(table).axes
    curves = [line for line in axes.lines if len(line_data(line)[0]) == 3]
    by_colour = {line.get_color(): line for line in curves if str(line.get_marker()) not in "_|"}
    for name in ("block 1", "block 2", "last", "all"):
        line = by_colour[look(name)[0]]
        expected = [OPTIONS[name] + k for k in (1, 2, 3)]
        np.testing.assert_allclose(line_data(line)[1], expected)
        np.testing.assert_allclose(line_data(line)[0], [10, 100, 1000], rtol=0.05)
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "100", "1,000"]
    named = [text for text in axes.texts if text.get_text() in OPTIONS]
    assert {text.get_text(): text.get_color() for text in named} == {
        name: look(name)[0] for name in ("block 1", "block 2", "last", "all")
    }


def test_labels_at_the_ends_do_not_cover_each_other() -> None:
    np.testing.assert_allclose(apart([0.0, 5.0], 1.0), [0.0, 5.0])
    np.testing.assert_allclose(apart([1.0, 1.0, 1.3, 9.0], 1.0), [0.1, 1.1, 2.1, 9.0])
    generator = np.random.default_rng(0)
    for _ in range(50):
        heights = np.sort(generator.random(6))
        moved = np.array(apart(list(heights), 0.1))
        assert (np.diff(moved) > 0.1 - 1e-9).all()
        assert moved.mean() == pytest.approx(heights.mean())


def test_one_seed_gets_the_binomial_error(record: Make) -> None:
    figure = which_block(summary([record(80.0, n_test=400)]))
    np.testing.assert_allclose(points(figure.axes[0]), [(0, 80.0, 2.0)])
    assert "binomial standard error" in texts(figure).replace("\n", " ")


def test_an_option_that_failed_is_shown_as_failed(record: Make) -> None:
    rows = [record(None, selection="last"), record(80.0), record(78.0, selection="all")]
    figure = which_block(summary(rows))
    assert [text.get_text() for text in figure.axes[0].texts] == ["80.0", "failed", "78.0"]
    assert "failed runs left out: 1" in texts(figure)
    assert "failed" in texts(which_block(summary([record(None)])))
    accuracy_against_images(summary(rows))


def test_a_row_that_is_there_twice_is_an_error(record: Make) -> None:
    twice = summary([record(80.0, n_tune=10), record(81.0, n_tune=100)])
    with pytest.raises(ValueError, match=r"block 1.*is there twice.*n_tune"):
        which_block(twice)
    accuracy_against_images(twice)
    models = summary([record(80.0, model="a"), record(81.0, model="b")])
    with pytest.raises(ValueError, match=r"keep one value of \['model'\]"):
        accuracy_against_images(models)


@pytest.mark.parametrize("n", [1, 5])
def test_a_panel_per_scenario_and_no_text_outside_the_figure(record: Make, n: int) -> None:
    table = summary(records(record, *(f"glyphs-c/{'x' * k}" for k in range(1, n + 1))))
    figure = which_block(table, profile="embedded", note="a long note " * 20)
    figure.draw_without_rendering()
    assert sum(axes.get_visible() for axes in figure.axes) == n
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width, text.get_text()
        assert box.y0 >= 0 and box.y1 <= figure.bbox.height, text.get_text()
    caption = next(text for text in figure.texts if "profile" in text.get_text())
    boxes = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
    assert caption.get_window_extent().y1 <= min(box.y0 for box in boxes if box is not None)


@pytest.mark.parametrize("draw", [which_block, accuracy_against_images])
def test_the_same_bytes_again_and_few_of_them(
    record: Make, tmp_path: Path, draw: Callable[[pd.DataFrame], Figure]
) -> None:
    table = summary(records(record, "glyphs-c/fog", "glyphs-flip"))
    first, second = (save(draw(table), tmp_path / name) for name in ("one", "folder/two"))
    assert first == tmp_path / "one.png"
    assert first.read_bytes() == second.read_bytes()
    assert 5_000 < first.stat().st_size < 60_000
    assert b"tEXt" not in first.read_bytes() and b"tIME" not in first.read_bytes()
