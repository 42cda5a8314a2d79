"""Claims as differences: paired, averaged over what is named, chosen by nothing."""

import math

import pytest
from stream_records import adapted

from surgicalft.report.stream_claims import (
    Finding,
    compare,
    early_above_all,
    last_layer_alone,
    wears_off,
)

FOG, SNOW = "glyphs-c/fog", "glyphs-c/snow"


def stream(**texts):
    """Online runs of these selections, `first_layer="1100"`; spaces in names as underscores are theirs."""
    names = {"block_1": "block 1"}
    return [adapted(text, names.get(name, name)) for name, text in texts.items()]


def test_early_layers_against_all():
    """Of eight images, the mean of two early selections minus all: 0 0 0 0 50 50 50 100."""
    online = {"all": "11110000", "first_layer": "11111111", "block_1": "11110001"}
    records = [*stream(none="11110000", **online), adapted("00000000", "all", "episodic")]
    finding = early_above_all(records)
    assert finding.difference == pytest.approx(31.25)
    squares = 4 * 31.25**2 + 3 * 18.75**2 + 68.75**2
    assert finding.error == pytest.approx(math.sqrt(squares / 7 / 8))
    assert finding.sign == 1
    assert finding.sentence == (
        "online, all 8 images, glyphs-c/fog: the mean of Layer 1 and Block 1-2 is 31.2 ± 13.2 points above All"
    )
    end = early_above_all(records, last=4)
    assert end.difference == pytest.approx(62.5) and "the last 4 of 8 images" in end.sentence


def test_the_last_layer_alone():
    records = [*stream(none="1100", last="1100"), adapted("0100", "last", "episodic")]
    online, episodic = (last_layer_alone(records, mode) for mode in ("online", "episodic"))
    assert (online.difference, online.error, online.sign) == (0, 0, 0)
    assert online.sentence.endswith("Last is level with No adaptation (+0.0 ± 0.0 points)")
    assert episodic.difference == pytest.approx(-25) and episodic.sentence.startswith("episodic")


def test_wearing_off_compares_the_ends_of_the_stream():
    """Of 12 images the gain is 100, 0, 0, 0 at the start and -100, -100, -100, 0 at the end."""
    records = stream(none="000011111110", all="100011110000")
    finding = wears_off(records, part=4)
    assert finding.difference == pytest.approx(-100)
    assert finding.error == pytest.approx(math.sqrt(2 * 2500 / 4))
    assert (
        finding.sign == -1 and "100.0 ± 35.4 points below that on the first 4" in finding.sentence
    )
    with pytest.raises(ValueError, match="part must be 1 to 6, half of the stream's 12, not 7"):
        wears_off(records, part=7)


def test_images_are_averaged_over_scenarios():
    records = [
        adapted(text, name, scenario=scenario)
        for scenario, name, text in (
            *((FOG, "none", "0000"), (FOG, "all", "1100")),
            *((SNOW, "none", "0000"), (SNOW, "all", "1000")),
        )
    ]
    finding = compare(records, ["all"], ["none"])
    assert finding.difference == pytest.approx(37.5)  # 100 50 0 0
    assert finding.error == pytest.approx(math.sqrt((62.5**2 + 12.5**2 + 2 * 37.5**2) / 3 / 4))
    assert "mean of 2 scenarios" in finding.sentence


def test_over_seeds_the_larger_error_counts():
    records = [
        adapted(text, name, seed=seed)
        for seed, texts in enumerate((("0" * 50, "1" * 50), ("0" * 50, "0" * 50)))
        for name, text in zip(("none", "all"), texts, strict=True)
    ]
    finding = compare(records, ["all"], ["none"])
    assert (finding.difference, finding.error, finding.sign) == (50, 50, 0)


@pytest.mark.parametrize(
    ("difference", "error", "sign"),
    [(2.1, 1, 1), (-2.1, 1, -1), (1.9, 1, 0), (0, 0, 0), (0.1, 0, 1), (3, math.nan, 0)],
)
def test_what_counts_as_a_difference(difference, error, sign):
    assert Finding(difference, error, "").sign == sign


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda r: compare(r, ["block 2"], ["all"]), r"one of \['all', 'none'\].*not 'block 2'"),
        (early_above_all, "not 'first_layer'"),
        (lambda r: compare(r, ["all"], ["none"], last=3), r"last must be 0 \(all\) to 2.*not 3"),
        (lambda r: compare(r, ["all"], ["none"], "episodic"), "not 'all'"),
        (lambda r: compare([*r, adapted(None, "last")], ["last"], ["none"]), "finished everywhere"),
        (
            lambda r: compare([*r, adapted("10", "last", seed=1)], ["last"], ["none"]),
            "no seed in common",
        ),
        (lambda r: compare([*r, adapted("10", model="vit")], ["all"], ["none"]), "of one model"),
    ],
)
def test_what_can_not_be_compared(act, message):
    with pytest.raises(ValueError, match=message):
        act(stream(none="10", all="11"))
