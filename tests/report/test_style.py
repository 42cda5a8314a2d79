"""Colours, captions and what a figure claims to be."""

from collections.abc import Callable

import matplotlib
import pytest
from matplotlib.colors import to_rgb

from surgicalft.report.style import LOOK, caption, evidence, look, style
from surgicalft.report.tables import summary
from surgicalft.sweep.record import Record

Make = Callable[..., Record]


def test_no_two_options_look_alike() -> None:
    colours = [to_rgb(colour) for colour, _ in LOOK.values()]
    for i, first in enumerate(colours):
        for second in colours[:i]:
            assert sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) > 0.02
    markers = [marker for _, marker in LOOK.values()]
    assert len(set(markers)) == len(markers)


def test_an_unknown_option_always_looks_the_same() -> None:
    assert look("first_2_layers") == look("first_2_layers")
    assert look("first_2_layers") not in LOOK.values()


def test_the_style_is_undone() -> None:
    before = matplotlib.rcParams["axes.spines.top"]
    with style():
        assert not matplotlib.rcParams["axes.spines.top"]
    assert matplotlib.rcParams["axes.spines.top"] == before


@pytest.mark.parametrize(
    ("scenarios", "claim"),
    [
        (["glyphs-c/fog", "glyphs-flip"], "embedded data: a demonstration, not evidence"),
        (["cifar10-flip"], "real data: evidence"),
        (["glyphs-flip", "cifar10-flip"], "embedded and real data"),
    ],
)
def test_only_real_data_are_evidence(scenarios: list[str], claim: str) -> None:
    assert evidence(scenarios) == claim


def test_the_caption_keeps_the_numbers_company(record: Make) -> None:
    rows = [record(80.0 + s, seed=s, n_tune=1000, device="cuda (H200)") for s in range(3)]
    text = caption(summary(rows, rule="oracle"), "cifar", "a note").replace("\u00a0", " ")
    assert text == (
        "profile cifar · resnet14-bn · 1,000 target images · 3 seeds · learning rate and epoch by "
        "oracle · cuda (H200) · made by hand · error bars: standard error over seeds · a note"
    )


def test_failures_are_counted_once(record: Make) -> None:
    rows = [record(80.0, scenario=f"glyphs-c/{name}") for name in ("fog", "snow")]
    rows.append(record(None, scenario="glyphs-c/fog", learning_rate=0.1))
    assert "failed runs left out: 1" in caption(summary(rows, pool=True), "", "")
    assert "failed" not in caption(summary(rows[:2], pool=True), "", "")
