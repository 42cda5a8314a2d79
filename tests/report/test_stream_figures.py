"""Figures of test-time adaptation, by what is drawn in them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from stream_records import adapted, drawn

from surgicalft.report.stream_curves import curve
from surgicalft.report.stream_figures import curve_figure, stream_figure
from surgicalft.report.streams import stream_table
from surgicalft.report.style import look, save

RESNET = "memo-resnet26-gn"
ROWS = [("none", "episodic"), ("all", "episodic"), ("all", "online"), ("first_layer", "online")]


def table(family="cifar10-lossless-c", names=("fog", "snow"), model=RESNET, last=0.8):
    rates = (0.7, 0.72, 0.74, last)
    return stream_table(
        adapted(drawn(rate, 400, 1), *row, scenario=f"{family}/{name}", model=model)
        for name in names
        for row, rate in zip(ROWS, rates, strict=True)
    )


def words(figure):
    parts = [text.get_text() for text in figure.texts]
    parts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        parts += [text.get_text() for text in axes.texts]
        parts += [axes.get_title("left"), axes.get_title("right"), axes.get_xlabel()]
        parts += [axes.get_ylabel()]
    return " ".join(" ".join(parts).replace("\u00a0", " ").split())


def dots(axes):
    """(accuracy, colour, hollow) of every point with an error bar, from above."""
    lines = sorted((c.lines[0] for c in axes.containers), key=lambda line: line.get_ydata()[0])
    return [
        (float(x.get_xdata()[0]), to_hex(x.get_color()).upper(), x.get_markerfacecolor() == "white")
        for x in lines
    ]


def diamonds(axes):
    return sorted(float(x.get_xdata()[0]) for x in axes.lines if x.get_marker() == "D")


def test_dots_show_table_9():
    shown = table()
    figure = stream_figure(shown, profile="cifar", note="a note")
    assert [axes.get_title("left") for axes in figure.axes] == ["fog", "snow", "mean"]
    fog = figure.axes[0]
    labels = [label.get_text() for label in fog.get_yticklabels()]
    assert labels == ["No adaptation", "All", "Layer 1"]
    rows = shown[shown["scenario"] == "cifar10-lossless-c/fog"]
    colours = [look(name)[0] for name, _ in ROWS]
    hollow = [False, True, False, False]
    assert dots(fog) == list(zip(rows["accuracy"], colours, hollow, strict=True))
    assert diamonds(fog) == [72.0, 75.69, 77.42, 79.61]
    text = words(figure)
    assert "real data: evidence · stream cut short: 400 of 9,000 images" in text
    assert "profile cifar" in text and "a note" in text and "diamonds: Table 9" in text
    assert "episodic" in text and "the paper" in text


def test_differences_are_on_one_scale_and_without_no_adaptation():
    shown = table()
    figure = stream_figure(shown, relative=True)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    fog = figure.axes[0]
    rows = shown[(shown["scenario"] == "cifar10-lossless-c/fog") & (shown["mode"] != "-")]
    assert [x for x, *_ in dots(fog)] == list(rows["gain"])
    assert diamonds(fog) == [3.69, 5.42, 7.61]
    assert [label.get_text() for label in fog.get_yticklabels()] == ["All", "Layer 1"]


def test_the_embedded_data_have_no_diamonds_and_say_what_they_are():
    figure = stream_figure(table("glyphs-c", model="resnet8-bn-w8"))
    assert not any(diamonds(axes) for axes in figure.axes)
    text = words(figure)
    assert "embedded data: a demonstration, not evidence" in text
    assert "cut short" not in text and "the paper" not in text


def test_what_collapsed_or_failed_is_written_and_leaves_room_for_the_rest():
    shown = table(names=("fog",), last=0.02)
    failed = stream_table([adapted(None, "last", scenario="cifar10-lossless-c/fog", model=RESNET)])
    shown = pd.concat([shown, failed], ignore_index=True)
    (axes,) = stream_figure(shown).axes
    assert {text.get_text() for text in axes.texts} == {
        f"← {shown['accuracy'].iloc[3]:.1f}",
        "failed",
    }
    assert axes.get_xlim()[0] > 50 and len(dots(axes)) == 3


def test_two_models_do_not_fit_one_figure():
    both = pd.concat([table(), table(model="resnet14-bn")])
    with pytest.raises(ValueError, match="is there twice; keep one model of"):
        stream_figure(both)
    with pytest.raises(ValueError, match="nothing to draw"):
        stream_figure(table().iloc[:1], relative=True)


def curves(scenario="cifar10-jpeg-c/fog", n=600, **more):
    where = {"scenario": scenario, "model": RESNET}
    falling = np.linspace(0.8, 0.1, n)
    return curve(
        [
            adapted(drawn(0.5, n, 1), "none", "episodic", **where),
            adapted(drawn(falling, n, 1), "all", collapsed_at=540, **where),
            adapted(drawn(0.7, n, 1), "first_layer", **where),
            adapted(drawn(0.71, n, 1), "block 1", **where),
            adapted(drawn(0.6, n, 1), "all", resets=(540,), reset=True, **where),
        ],
        window=200,
    )


def test_curves_are_drawn_in_their_colours_and_marked():
    shown = curves()
    figure = curve_figure(shown, profile="cifar")
    so_far, recent = figure.axes
    for axes, column in ((so_far, "accuracy"), (recent, "recent")):
        lines = [line for line in axes.lines if line.get_linestyle() != "None"]
        own = [rows for _, rows in shown.groupby("name", sort=False)]
        assert len(lines) == len(own) == 5
        for line, rows in zip(lines, own, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), rows[column])
            assert line.get_color() == look(rows["selection"].iloc[0])[0]
        marks = {line.get_marker(): line for line in axes.lines if len(line.get_xdata()) == 1}
        collapsed = shown[shown["collapsed"]]
        assert list(collapsed["images"]) == [550]
        assert marks["X"].get_xydata().tolist() == collapsed[["images", column]].to_numpy().tolist()
        assert marks["v"].get_xdata().tolist() == [550]
    text = words(figure)
    assert "collapse noticed" in text and "set back to the source model" in text
    assert "accuracy of the last 200 images (%)" in text
    assert "stream cut short: 600 of 9,000 images" in text and "profile cifar" in text


def test_names_at_the_ends_do_not_cover_each_other():
    figure = curve_figure(curves())
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 5
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_gains_along_the_stream():
    shown = curves("glyphs-c/fog")
    figure = curve_figure(shown[~shown["with_reset"]], relative=True)
    names = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(names) == ["All", "Block 1-2", "Layer 1"]
    tuned = shown[shown["label"] == "Layer 1"]
    ys = [line.get_ydata() for line in figure.axes[1].lines if len(line.get_ydata()) == len(tuned)]
    assert any(np.array_equal(y, tuned["recent_gain"], equal_nan=True) for y in ys)
    assert "not evidence" in words(figure) and "set back" not in words(figure)


def test_both_modes_are_told_apart():
    records = [
        adapted(drawn(0.5 + 0.1 * i, 100), mode=m) for i, m in enumerate(("online", "episodic"))
    ]
    figure = curve_figure(curve(records, window=50))
    assert {line.get_linestyle() for line in figure.axes[0].lines} >= {"-", "--"}
    names = {text.get_text() for text in figure.axes[0].texts}
    assert names == {"Episodic All", "Online All"}


def test_a_line_that_is_there_twice_does_not_fit():
    with pytest.raises(ValueError, match="is there twice"):
        curve_figure(pd.concat([curves(), curves()]))


@pytest.mark.parametrize("draw", [lambda: stream_figure(table()), lambda: curve_figure(curves())])
def test_the_same_records_give_the_same_bytes(draw, tmp_path):
    first, again = (save(draw(), tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == again.read_bytes()
