"""The embedded data set: the same images always, the groups as promised, and every scenario splits."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
import torch

from surgicalft.shifts import glyphs
from surgicalft.shifts.base import KINDS, get_scenario, load_source, scenario_names, split_target
from surgicalft.shifts.glyph_drawing import CHUNK, FONTS, Style, _outline, draw
from surgicalft.shifts.labels import flip_labels

SCENARIOS = [name for name in scenario_names() if name.startswith("glyphs-")]
HASH = """
import hashlib
from surgicalft.shifts.glyphs import glyphs
print(hashlib.sha256(glyphs("test", 30).images.numpy().tobytes()).hexdigest())
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets of a few hundred images, in the proportions of the real ones."""
    monkeypatch.setattr(glyphs, "POOL", 400)
    monkeypatch.setattr(glyphs, "SIZES", {"train": 600, "valid": 200, "test": 200})
    yield


def _hash(images: torch.Tensor) -> str:
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


def test_same_images_in_another_process() -> None:
    here = _hash(draw(glyphs.LETTERS * 3, Style(), "test"))
    there = subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True, check=True)
    assert there.stdout.split()[-1] == here


def test_an_image_does_not_depend_on_how_many_are_drawn() -> None:
    n = CHUNK + 20
    many = glyphs.glyphs("test", n).images
    assert torch.equal(glyphs.glyphs("test", 30).images, many[:30])
    tail = draw(glyphs.LETTERS * 2, Style(), "test", start=CHUNK)
    assert torch.equal(tail, many[CHUNK:])


def test_streams_and_positions_differ() -> None:
    train, test = glyphs.glyphs("train", 40).images, glyphs.glyphs("test", 40).images
    both = torch.cat([train, test]).flatten(1)
    assert len(both.unique(dim=0)) == len(both)


def test_shapes_ranges_and_balance(small: None) -> None:
    source = load_source("glyphs")
    assert source.classes == 10 and source.provenance == "embedded"
    for part, n in {"train": 600, "valid": 200, "test": 200}.items():
        labelled = getattr(source, part)
        assert labelled.images.shape == (n, 3, 32, 32)
        assert labelled.labels.bincount().tolist() == [n // 10] * 10
    values = source.train.images.float()
    assert values.min() < 64 and values.max() > 230  # dark ink on light paper


def test_the_ink_is_what_differs_between_letters() -> None:
    """Same seed, other letter: the paper stays, some ink moves, and ink only darkens."""
    style = Style(contrast=((0.2, 0.2),) * 3, amplitude=(0.0, 0.0))
    blank = draw("A", Style(contrast=((0.0, 0.0),) * 3, amplitude=(0.0, 0.0)), "test")
    for letter in glyphs.LETTERS + glyphs.LETTERS.lower():
        darker = blank.int() - draw(letter, style, "test").int()
        assert darker.min() >= 0 and darker.max() <= 52
        assert 0.04 < (darker > 25).float().mean() < 0.4


def test_no_letter_falls_outside_the_image() -> None:
    """At their largest and furthest, at most a stroke's end of a few letters is cut off."""
    extreme = Style(length=(22, 22), shift=(3, 3), contrast=((0.3, 0.3),) * 3, amplitude=(0, 0))
    images = draw(glyphs.LETTERS * 20, extreme, "test").float()
    ink = images.amax((2, 3), keepdim=True) - images  # the paper is the brightest
    border = torch.cat([ink[..., 0, :], ink[..., -1, :], ink[..., 0], ink[..., -1]], -1)
    assert border.sum() < 0.01 * ink.sum()


@pytest.mark.parametrize("font", FONTS)
def test_every_font_has_every_letter(font: str) -> None:
    """A missing letter would come out blank, or as the same box as another."""
    shapes = {c: _outline(font, c) > 0 for c in glyphs.LETTERS + glyphs.LETTERS.lower()}
    for shape in shapes.values():
        rows, columns = np.nonzero(shape)
        longest = max(np.ptp(rows), np.ptp(columns)) + 1
        assert abs(longest - 40) <= 4  # 80 / 2 pixels, less what is thinner than two of them
        assert 0.02 < shape.mean() < 0.35
    for (a, one), (b, other) in combinations(shapes.items(), 2):
        overlap = (one & other).sum() / (one | other).sum()
        assert overlap < 0.9, (a, b)


def test_upper_and_lower_case_share_all_but_the_letter() -> None:
    upper, lower = glyphs.glyphs("target", 200), glyphs.glyphs("target", 200, lower=True)
    assert torch.equal(upper.labels, lower.labels)
    assert torch.equal(upper.images[..., 0, 0], lower.images[..., 0, 0])  # a corner is paper
    changed = (upper.images != lower.images).flatten(1).float().mean(1)
    assert changed.min() > 0.03


def test_biased_source_has_the_background_of_the_parity_in_95_percent(small: None) -> None:
    source = load_source("glyphs-biased")
    for part in (source.train, source.valid, source.test):
        assert part.groups is not None
        assert torch.equal(part.groups % 10, part.labels)
        for label in range(10):
            background = part.groups[part.labels == label] // 10
            assert (background == label % 2).float().mean().item() == pytest.approx(0.95)


def test_background_target_is_balanced_by_group(small: None) -> None:
    pool = get_scenario("glyphs-background").load(None).pool
    assert pool.groups is not None
    assert pool.groups.bincount().tolist() == [20] * 20
    split = split_target(pool, 40, 20, seed=0)
    for part, each in ((split.tune, 2), (split.valid, 1), (split.test, 17)):
        assert part.groups is not None
        assert part.groups.bincount().tolist() == [each] * 20
        assert part.labels.bincount().tolist() == [2 * each] * 10


def test_backgrounds_can_be_told_apart() -> None:
    """Checks jump between two values, stripes pass through all between: their kurtosis differs."""
    pool = glyphs.glyphs_on_backgrounds("target", 400, biased=False)
    assert pool.groups is not None
    edge = pool.images[:, :, :4].double().mean(1).flatten(1)  # above most letters
    z = (edge - edge.mean(1, keepdim=True)) / edge.std(1, keepdim=True)
    kurtosis = (z**4).mean(1)
    stripes, checks = (kurtosis[pool.groups // 10 == b].median() for b in (0, 1))
    assert stripes > checks + 0.2


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_loads_and_splits(name: str, small: None) -> None:
    scenario = get_scenario(name)
    assert scenario.kind in KINDS
    assert load_source(scenario.source).classes == 10
    target = scenario.load(None)
    assert target.classes == 10 and target.provenance == "embedded"
    split = split_target(target.pool, 40, 20, seed=0)
    assert [len(split.tune), len(split.valid), len(split.test)] == [40, 20, 340]
    assert split.tune.labels.bincount().tolist() == [4] * 10


def test_the_registry_carries_every_kind_of_shift() -> None:
    kinds = {get_scenario(name).kind for name in SCENARIOS}
    assert kinds == set(KINDS)
    assert len(SCENARIOS) == 19 + 5


@pytest.mark.parametrize("name", ["glyphs-c/fog/3", "glyphs-c/fog", "glyphs-ink"])
def test_what_shifts_of_the_pixels_change(name: str, small: None) -> None:
    clean = glyphs.glyphs("target", 400)
    pool = get_scenario(name).load(None).pool
    assert torch.equal(pool.labels, clean.labels)
    assert (pool.images != clean.images).flatten(1).any(1).all()


def test_severity_is_five_where_none_is_given(small: None) -> None:
    assert get_scenario("glyphs-c/fog").name == "glyphs-c/fog/5"
    mild, harsh = (get_scenario(f"glyphs-c/contrast/{s}").load(None).pool for s in (1, 5))
    spread = [p.images.float().std((2, 3)).mean() for p in (mild, harsh)]
    assert spread[1] < 0.5 * spread[0]


@pytest.mark.parametrize("severity", ["0", "6", "high", "3/1"])
def test_unknown_severity_raises(severity: str) -> None:
    with pytest.raises(ValueError, match=rf"severity must be one of.*{severity}"):
        get_scenario(f"glyphs-c/fog/{severity}")


def test_flip_changes_the_labels_alone(small: None) -> None:
    clean, flipped = glyphs.glyphs("target", 400), get_scenario("glyphs-flip").load(None).pool
    assert torch.equal(flipped.images, clean.images)
    assert torch.equal(flipped.labels, 9 - clean.labels)


def test_flip_labels_undoes_itself() -> None:
    labels = torch.tensor([0, 3, 4, 4, 1])
    assert flip_labels(labels, 5).tolist() == [4, 1, 0, 0, 3]
    assert torch.equal(flip_labels(flip_labels(labels, 7), 7), labels)


@pytest.mark.parametrize("bad", [-1, 10])
def test_flip_labels_rejects_labels_outside_the_classes(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"from 0 to 9, not \[{bad}\]"):
        flip_labels(torch.tensor([0, bad]), 10)
