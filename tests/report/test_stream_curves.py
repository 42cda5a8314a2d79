"""Accuracy along a stream, beside what a loop over its images gives."""

import math

import numpy as np
import pytest
from stream_records import adapted, drawn

from surgicalft.report.stream_curves import curve, running


def mean_and_error(values, ddof):
    """Of a list of numbers, by the textbook."""
    mean = sum(values) / len(values)
    if len(values) <= ddof:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - ddof)
    return mean, math.sqrt(variance / len(values))


@pytest.mark.parametrize("window", [0, 1, 7, 40])
@pytest.mark.parametrize("ddof", [0, 1])
def test_running_means_and_errors_as_a_loop_has_them(window, ddof):
    values = np.random.default_rng(0).choice([-100.0, 0.0, 100.0], 40)
    mean, error = running(values, window, ddof)
    for i in range(len(values)):
        if i + 1 < window:
            assert math.isnan(mean[i]) and math.isnan(error[i])
            continue
        seen = values[i + 1 - window if window else 0 : i + 1]
        expected = mean_and_error(list(seen), ddof)
        assert (mean[i], error[i]) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_a_curve_by_hand():
    """Four images at a time: 3, 1 and 2 right with adaptation, 2 each without."""
    records = [
        adapted("1100" * 3, "none", window=4),
        adapted("111010001100", "first_layer", window=4),
    ]
    curves = curve(records, window=8)
    none, tuned = (curves[curves["name"] == name] for name in ("No adaptation", "Online Layer 1"))
    assert list(tuned["images"]) == [4, 8, 12]
    assert list(tuned["accuracy"]) == pytest.approx([75, 50, 50])
    assert list(tuned["accuracy_error"]) == pytest.approx(
        [math.sqrt(75 * 25 / 4), math.sqrt(50 * 50 / 8), math.sqrt(50 * 50 / 12)]
    )
    assert list(tuned["recent"]) == pytest.approx([math.nan, 50, 37.5], nan_ok=True)
    assert tuned["recent_error"].iloc[2] == pytest.approx(math.sqrt(37.5 * 62.5 / 8))
    assert list(tuned["gain"]) == pytest.approx([25, 0, 0])
    # The first four images: one mended, three as they were.
    assert tuned["gain_error"].iloc[0] == pytest.approx(100 * math.sqrt(0.75 / 3 / 4))
    assert list(tuned["recent_gain"]) == pytest.approx([math.nan, 0, -12.5], nan_ok=True)
    assert list(none["accuracy"]) == pytest.approx([50] * 3) and none["gain"].isna().all()
    assert set(curves["window"]) == {8} and set(curves["n_test"]) == {12}


def test_the_curve_ends_at_the_accuracy_of_the_record():
    record = adapted(drawn(0.7, 330, 1), scenario="cifar10-jpeg-c/fog", model="memo-resnet26-gn")
    curves = curve([record], window=100)
    assert list(curves["images"]) == [50, 100, 150, 200, 250, 300, 330]
    assert curves["accuracy"].iloc[-1] == pytest.approx(record.test_accuracy)
    assert curves["gain"].isna().all() and set(curves["stream"]) == {"330 of 9,000"}


def test_collapse_and_resets_are_marked_where_they_were_noticed():
    record = adapted("01" * 100, collapsed_at=101, resets=(101, 200), reset=True)
    curves = curve([record], window=50)
    assert list(curves["collapsed"]) == [False, False, True, False]
    assert list(curves["reset"]) == [False, False, True, True]
    assert set(curves["name"]) == {"Online All, reset"} and curves["with_reset"].all()


def test_seeds_are_averaged_and_errors_are_those_of_one():
    records = [adapted("1100", seed=0, window=2), adapted("1111", seed=1, window=2)]
    curves = curve(records, window=2)
    assert list(curves["accuracy"]) == pytest.approx([100, 75])
    assert list(curves["accuracy_error"]) == pytest.approx([0, math.sqrt(50 * 50 / 4 / 2)])
    assert set(curves["n"]) == {2}


def test_scenarios_and_rows_in_the_papers_order():
    where = [{"scenario": f"glyphs-c/{name}"} for name in ("zoom_blur", "fog")]
    records = [
        adapted("10" * 25, name, **options) for options in where for name in ("last", "none", "all")
    ]
    curves = curve(records, window=50)
    assert list(dict.fromkeys(curves["scenario"])) == ["glyphs-c/fog", "glyphs-c/zoom_blur"]
    assert list(curves["label"])[:3] == ["No adaptation", "All", "Last"]


@pytest.mark.parametrize(
    ("records", "window", "message"),
    [
        ([adapted("10" * 30)], 0, "window must be 1 to 60, the length of the stream, not 0"),
        ([adapted("10" * 30)], 61, "window must be 1 to 60, the length of the stream, not 61"),
        ([adapted(None)], 1, "all runs failed"),
        ([adapted("10", seed=0), adapted("101", seed=1)], 1, r"streams of \[2, 3\]"),
    ],
)
def test_what_has_no_curve(records, window, message):
    with pytest.raises(ValueError, match=message):
        curve(records, window)
