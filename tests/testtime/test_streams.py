"""Streams: which images, in which order; and copies that are found and told from what is merely alike."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from surgicalft.shifts import Labelled, load_source
from surgicalft.shifts.cifar import load_cifar
from surgicalft.shifts.image_files import LazyImages, MappedImages
from surgicalft.testtime import streams
from surgicalft.testtime.streams import CELL, SAME, copies, stream

LABELS = torch.tensor([0, 1, 2, 0, 0, 2, 1, 1, 2, 2, 0, 1])
N = len(LABELS)


def pool(shift: int = 0) -> Labelled:
    """Image i is all i + shift."""
    numbers = (torch.arange(N) + shift).to(torch.uint8)
    return Labelled(numbers.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), LABELS)


def seen(*args, **options) -> list[int]:
    return stream(pool(), 3, *args, **options).images[:, 0, 0, 0].tolist()


def test_everything_comes_once_in_an_order_that_only_the_seed_decides():
    assert sorted(seen(0)) == list(range(N)) != seen(0)
    assert seen(0) == seen(0) != seen(1)
    shifted = stream(pool(100), 3, 0)
    assert (shifted.images[:, 0, 0, 0] - 100).tolist() == seen(0)
    assert torch.equal(shifted.labels, LABELS[seen(0)])


def test_parts_of_one_order():
    assert seen(3, skip=4) == seen(3)[4:]
    assert seen(3, n_images=5) == seen(3)[:5]
    assert seen(3, skip=4, n_images=5) == seen(3)[4:9]
    assert seen(3, skip=N - 1, n_images=1) == seen(3)[-1:]


def test_left_out_first_then_the_first_of_each_class():
    left_out = torch.tensor([3, 0, 1, 3])
    assert set(seen(0, left_out=left_out)) == set(range(N)) - {0, 1, 3}
    assert set(seen(0, per_class=2)) == {0, 3, 1, 6, 2, 5}
    assert set(seen(0, per_class=2, left_out=left_out)) == {4, 10, 6, 7, 2, 5}
    assert seen(0, per_class=2, left_out=torch.tensor([], dtype=torch.int64)) == seen(
        0, per_class=2
    )


def test_equally_many_left_are_in_equal_order():
    """Corruptions of the same images are paired, also where others were left out."""
    first = [i for i in range(N) if i not in (0, 1)]
    other = [i for i in range(N) if i not in (5, 9)]
    places = [first.index(i) for i in seen(0, left_out=torch.tensor([0, 1]))]
    assert places == [other.index(i) for i in seen(0, left_out=torch.tensor([5, 9]))]
    chosen = seen(0, per_class=3)
    kept = torch.arange(N)[:9]
    assert chosen == [sorted(chosen)[i] for i in stream(pool().take(kept), 3, 0).images[:, 0, 0, 0]]


class Unreadable(LazyImages):
    """Images that must not be looked at."""

    size = 2

    def __init__(self, index: Tensor) -> None:
        self.index = index

    def view(self, index: Tensor) -> "Unreadable":
        return Unreadable(self.index[index])

    def read(self, rows: Tensor) -> Tensor:
        raise AssertionError(f"read {rows}")

    def contents(self) -> bytes:
        return b""


def test_lazy_images_are_not_read():
    chosen = stream(Labelled(Unreadable(torch.arange(N)), LABELS), 3, 0, skip=1, per_class=3)
    assert chosen.images.index.tolist() == seen(0, skip=1, per_class=3)


@pytest.mark.parametrize("name", ["skip", "n_images", "per_class"])
def test_negative_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be 0 or more, not -1"):
        seen(0, **{name: -1})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skip": N}, "empty: 12 of 12 .* skip=12 and n_images=all"),
        ({"left_out": torch.arange(N)}, "empty: 0 of 12 images are there .12 left out"),
        ({"skip": 10, "n_images": 3}, "too short: 12 of 12 .* skip=10 and n_images=3"),
        ({"n_images": 7, "per_class": 2}, "too short: 6 of 12 .*6 left out or beyond per_class=2"),
        ({"per_class": 5}, "class 0 has 4 images, fewer than per_class=5; so have 3 of 3"),
        ({"left_out": torch.tensor([0, N])}, "from 0 to 11, not torch.int64 from 0 to 12"),
        ({"left_out": torch.tensor([-1])}, "from 0 to 11, not torch.int64 from -1"),
        ({"left_out": torch.ones(N, dtype=torch.bool)}, "int64 indices .* not torch.bool"),
    ],
)
def test_more_than_there_is(options, said):
    with pytest.raises(ValueError, match=said):
        seen(0, **options)


def through_jpeg(images: Tensor, quality: int) -> Tensor:
    saved = []
    for image in images.permute(0, 2, 3, 1).numpy():
        Image.fromarray(image).save(buffer := io.BytesIO(), "JPEG", quality=quality)
        saved.append(np.asarray(Image.open(buffer)))
    return torch.from_numpy(np.stack(saved)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def glyphs() -> Tensor:
    return load_source("glyphs").test.images[:600]


def distances(images: Tensor, others: Tensor) -> Tensor:
    """By definition: (n, m)."""
    c, h, w = images.shape[1:]
    cells = [
        x.float().reshape(-1, c, h // CELL, CELL, w // CELL, CELL).mean((3, 5)).flatten(1)
        for x in (images, others)
    ]
    return torch.stack([(cells[0] - cell).abs().mean(1) for cell in cells[1]], 1)


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_jpeg_copies_are_found_and_no_others(glyphs, quality):
    order = torch.randperm(len(glyphs), generator=torch.Generator().manual_seed(0))
    expected = order[:40].sort().values
    others = glyphs[order[:40]]
    assert copies(through_jpeg(glyphs, quality), others).tolist() == expected.tolist()
    assert copies(glyphs, through_jpeg(others, quality)).tolist() == expected.tolist()


def test_distance_is_as_defined():
    images = torch.randint(100, 110, (1100, 3, 16, 24), dtype=torch.uint8)
    others = images[::200].flip(0).clone()
    others[1, :, :8, :8] += (
        18  # 1/6 of the cells: 3 in the mean, and cells of few values scatter about it
    )
    others[2, :, :8, :8] += 17
    near = distances(images, others).lt(SAME)
    assert copies(images, others).tolist() == near.any(1).nonzero().flatten().tolist()
    apart = torch.full((1, 3, 8, 8), 10, dtype=torch.uint8)
    assert copies(apart, apart + 2).tolist() == [0]
    assert copies(apart, apart + 3).tolist() == []


def test_any_number_at_once(monkeypatch, glyphs):
    images, others = glyphs[:100], glyphs[[90, 3, 40, 77, 2, 150, 151, 152, 153, 154]]
    for rows in (1, 7):
        monkeypatch.setattr(streams, "ROWS", rows)
        assert copies(images, others).tolist() == [2, 3, 40, 77, 90]


def test_lazy_images_small_images_and_none():
    levels = torch.arange(0, 250, 5, dtype=torch.uint8).view(-1, 1, 1, 1)
    images, square = levels.expand(-1, 3, 5, 20), levels.expand(-1, 3, 8, 8)
    assert copies(images, images[20:23]).tolist() == [20, 21, 22]
    lazy = MappedImages(square.numpy(), torch.arange(50))
    assert copies(lazy, lazy.view(torch.tensor([7, 4]))).tolist() == [4, 7]
    assert copies(images, images[:0]).tolist() == copies(images[:0], images).tolist() == []


def test_other_types_and_sizes_are_refused():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"uint8 .* not torch.float32 \(2, 3, 8, 8\)"):
        copies(images, images.float())
    with pytest.raises(ValueError, match=r"not torch.uint8 \(3, 8, 8\)"):
        copies(images[0], images)
    with pytest.raises(ValueError, match=r"one size, not \(3, 8, 8\) and \(3, 8, 4\)"):
        copies(images, images[..., :4])


def test_the_real_copies(real_data):
    """Each exact CIFAR-10 test image has one JPEG copy, three times nearer than the next image."""
    pool, exact = (
        load_cifar(name, real_data)["test"] for name in ("cifar10-jpeg", "cifar10-lossless")
    )
    found = copies(pool.images, exact.images)
    assert len(found) == len(exact) == 500
    assert torch.equal(pool.labels[found].bincount(), exact.labels.bincount())
    nearest = distances(pool.images, exact.images).amin(1)
    assert nearest[found].max() < 2.1
    nearest[found] = torch.inf
    assert nearest.min() > 6.6
