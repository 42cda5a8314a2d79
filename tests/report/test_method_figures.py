"""Figures of methods, by what is drawn in them."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from option_records import ROWS, run, scenario

from surgicalft.report.method_figures import accuracy_against_cost, method_dots
from surgicalft.report.methods import method_table
from surgicalft.report.place_labels import freeze_layout, place_labels
from surgicalft.report.style import save

NAMES = ("glyphs-case", "glyphs-flip", "glyphs-ink")


def records(names=NAMES):
    return [
        record
        for i, name in enumerate(names)
        for seed in (0, 1)
        for record in [
            *scenario(name, seed, 1.0, No_Adaptation=10.0),
            *scenario(name, seed, 300.0, Cross_Val=90.0 + seed),
            *scenario(name, seed, 100.0, All=70.0 + i + seed, Halving=85.0),
            *scenario(name, seed, 110.0, Auto_RGN=80.0 + seed, RGN_after_head=80.5),
        ]
    ]


def words(figure):
    parts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        parts += [text.get_text() for text in axes.texts]
        parts += [axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()]
    return "\n".join(parts)


def points(axes):
    """(x, y) of every point with an error bar."""
    lines = [container.lines[0] for container in axes.containers]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def test_accuracy_against_cost_draws_every_method_at_its_cost():
    figure = accuracy_against_cost(records(), design=NAMES[:1], profile="embedded")
    design, held = figure.axes
    expected = [(3.0, 90.5), (1.0, 72.0), (1.1, 80.5), (1.0, 85.0), (1.1, 80.5)]
    np.testing.assert_allclose(points(held), expected)
    assert points(design)[1] == pytest.approx((1.0, 70.5))
    assert design.get_title("left") == "a single design scenario"
    assert held.get_title("left") == "mean of 2 held-out scenarios"
    assert held.get_xscale() == "log"
    text = words(figure)
    assert "embedded data: a demonstration, not evidence" in text and "profile embedded" in text
    assert "no adaptation 10.0 ↓" in text and "RGN after head" in text and "2 seeds" in text


def test_names_cover_neither_points_nor_each_other():
    figure = accuracy_against_cost(records())
    (axes,) = figure.axes
    names = [t for t in axes.texts if t.get_text() in ROWS]
    assert len(names) == 5
    boxes = [text.get_window_extent() for text in names]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    pixels = axes.transData.transform(points(axes))
    assert not any(box.contains(*point) for box in boxes for point in pixels)


def test_many_names_at_one_place_are_moved_apart():
    figure = Figure(figsize=(5, 4))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlim=(-1, 1), ylim=(-1, 1))
    freeze_layout(figure)
    place_labels(axes, np.zeros((14, 2)), map(str, range(14)), ["black"] * 14, [0.1] * 14)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    near = np.hypot(*np.transpose([text.get_position() for text in axes.texts]))
    assert near[0] < 15 < near[-1]  # the first next to its point; a line leads to one further away
    assert axes.lines


def test_without_costs_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no costs to draw"):
        accuracy_against_cost([run(70.0, None)])


def test_a_method_that_lacks_a_scenario_is_left_out():
    figure = accuracy_against_cost(records() + scenario("glyphs-c/fog", All=70.0, Cross_Val=80.0))
    names = {text.get_text() for text in figure.axes[0].texts}
    assert {"All", "Cross-Val"} <= names and not names & {"Halving", "Auto-RGN"}
    assert "not on all scenarios: No Adaptation, Auto-RGN" in words(figure).replace("\n", " ")
    assert figure.axes[0].get_title("left") == "mean of 4 scenarios"


def test_dots_show_table_4():
    table = method_table(records(("cifar10-c/fog", "cifar10-c/snow", "cifar10-flip")))
    figure = method_dots(table, "cifar", "a note")
    mean, flip = figure.axes
    assert [label.get_text() for label in mean.get_yticklabels()] == list(
        dict.fromkeys(table["option"])
    )
    assert (mean.get_title("left"), flip.get_title("left")) == ("cifar10-c/*", "cifar10-flip")
    assert dict((y, x) for x, y in points(flip))[2] == pytest.approx(72.5)  # All
    levels = [
        float(line.get_xdata()[0]) for line in flip.lines if line.get_linestyle() in ("--", ":")
    ]
    assert levels == pytest.approx([72.5, 90.5])
    paper = [
        tuple(map(float, np.ravel(line.get_data())))
        for line in flip.lines
        if line.get_marker() == "D"
    ]
    assert (93.8, 1.0) in paper and (85.9, 2.0) in paper
    text = words(figure)
    assert "← 10.0" in text and "real data: evidence" in text and "a note" in text


def test_a_method_whose_runs_all_failed_says_so():
    failed = [
        run(None, scenario=name, seed=seed, method="auto-rgn") for name in NAMES for seed in (0, 1)
    ]
    kept = [r for r in records() if r.settings["method"] != "auto-rgn"]
    figure = method_dots(method_table(kept + failed))
    assert "failed" in [text.get_text() for text in figure.axes[0].texts]
    assert "failed runs left out: 6" in words(figure).replace("\u00a0", " ")


def test_the_same_records_give_the_same_bytes(tmp_path):
    paths = [save(accuracy_against_cost(records()), tmp_path / name) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
