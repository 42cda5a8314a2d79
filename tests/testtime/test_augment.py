"""AugMix on tensors: the same images from the same draws, the same distribution from other draws."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pillow_augmix import pixels, views, views_from
from scipy import stats
from torch import Tensor

from surgicalft.shifts.glyphs import glyphs
from surgicalft.testtime import augment as module
from surgicalft.testtime.augment import AugMix, augment
from surgicalft.testtime.augmix import draw

ROUNDING = 1e-6  # of the mix in float32: images before it are equal bit for bit
HOWS = [
    AugMix(),
    AugMix(level=10.0),
    AugMix(crop="resized"),
    AugMix(crop="none", flip=False, width=1, depth=5),
    AugMix(padding=0, width=4, depth=1, level=3.0),
]


def smooth(n: int, h: int = 32, w: int = 32) -> Tensor:
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 5, 5, generator=random)
    fine = torch.nn.functional.interpolate(coarse, (h, w), mode="bicubic")
    return (fine * 120 + 60).clamp(0, 255).to(torch.uint8)


def check_draws_give_pillows_images(images: Tensor, n: int, how: AugMix) -> None:
    seeds = list(range(10, 10 + len(images)))
    found = augment(images, n, seeds, how)
    assert found.dtype == torch.float32
    assert found.shape == (len(images), n, *images.shape[1:])
    assert found.min() >= 0 and found.max() <= 1
    for i, seed in enumerate(seeds):
        draws = draw([seed], n, tuple(images.shape[2:]), how)
        assert (found[i] - views_from(images[i], draws, how)).abs().max() < ROUNDING


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_same_draws_give_pillows_images(how: AugMix) -> None:
    images = torch.cat([smooth(3), glyphs("test", 3).images])
    check_draws_give_pillows_images(images, 32, how)


@pytest.mark.parametrize("crop", ["padded", "resized"])
@pytest.mark.parametrize("size", [(224, 224), (20, 31), (4, 60)], ids=str)
def test_same_draws_give_pillows_images_at_other_sizes(size: tuple[int, int], crop: str) -> None:
    check_draws_give_pillows_images(smooth(2, *size), 6, AugMix(crop))


def test_same_draws_give_pillows_images_on_photographs(real_data: Path) -> None:
    images = []
    with tarfile.open(real_data / "cifar10-lossless-png.tar.xz") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".png"):
                images.append(pixels(Image.open(archive.extractfile(member)).convert("RGB")))
            if len(images) == 8:
                break
    check_draws_give_pillows_images(torch.stack(images), 32, AugMix())


def statistics(batch: Tensor, image: Tensor) -> list[np.ndarray]:
    """What tells augmentations apart: brightness, contrast, which side is brighter, detail, fill colour, change."""
    half = image.shape[-1] // 2
    x, y = (batch.diff(dim=dim).abs().mean((1, 2, 3)) for dim in (3, 2))
    sides = batch[..., :half].mean((1, 2, 3)) - batch[..., half:].mean((1, 2, 3))
    ends = batch[:, :, :half].mean((1, 2, 3)) - batch[:, :, half:].mean((1, 2, 3))
    red = (batch[:, 0, :, -1] - batch[:, 1, :, -1]).mean(1)
    change = (batch - image / 255).abs().mean((1, 2, 3))
    brightness = batch.mean((2, 3)).T
    contrast, brightest = batch.std((1, 2, 3)), batch.amax((1, 2, 3))
    parts = [*brightness, contrast, brightest, sides, ends, x, y, red, change]
    return [part.numpy() for part in parts]


def p_value(batch: Tensor, others: Tensor, image: Tensor) -> float:
    """Of equal distributions: Kolmogorov and Smirnov's on every statistic, times their number (Bonferroni)."""
    pairs = list(zip(statistics(batch, image), statistics(others, image), strict=True))
    values = [stats.ks_2samp(one, other, method="asymp").pvalue for one, other in pairs]
    return min(values) * len(values)


def drawn_by_pillow(image: Tensor, n: int, how: AugMix) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return views(image, n, np.random.default_rng(0), how)


@pytest.fixture(scope="module")
def published() -> Tensor:
    return drawn_by_pillow(smooth(1)[0], 1000, AugMix())


def test_distribution_is_pillows(published: Tensor) -> None:
    ours = augment(smooth(1), 1000, [0])[0]
    assert p_value(ours, published, smooth(1)[0]) > 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        AugMix(level=3.0),
        AugMix(flip=False),
        AugMix(depth=1),
        AugMix(width=1),
        AugMix(padding=3),
        AugMix(crop="resized"),
    ],
    ids=str,
)
def test_comparison_finds_a_wrong_chain(wrong: AugMix, published: Tensor) -> None:
    ours = augment(smooth(1), 1000, [0], wrong)[0]
    assert p_value(ours, published, smooth(1)[0]) < 1e-6


def test_distribution_with_resized_crops_is_pillows() -> None:
    image, how = smooth(1)[0], AugMix(crop="resized")
    ours = augment(image[None], 500, [0], how)[0]
    assert p_value(ours, drawn_by_pillow(image, 500, how), image) > 0.01


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_images_do_not_depend_on_the_batch(how: AugMix, monkeypatch: pytest.MonkeyPatch) -> None:
    images, seeds = torch.cat([smooth(5), smooth(2)]), [5, 0, 7, 7, 2**63 - 1, 5, 1]
    together = augment(images, 9, seeds, how)
    assert torch.equal(together, augment(images.flip(0), 9, seeds[::-1], how).flip(0))
    alone = [augment(images[i : i + 1], 9, seeds[i : i + 1], how)[0] for i in range(7)]
    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(together[0], together[5])  # the same pixels and seed
    assert not torch.equal(together[1], together[6])  # the same pixels, another seed
    assert torch.equal(together[:, :4], augment(images, 4, seeds, how))
    monkeypatch.setattr(module, "CHUNK_BYTES", 5 * 3 * images[0].numel())
    assert torch.equal(together, augment(images, 9, seeds, how))


def test_images_do_not_depend_on_threads() -> None:
    images, seeds, threads = smooth(16), list(range(16)), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = augment(images, 32, seeds)
        torch.set_num_threads(3)
        assert torch.equal(augment(images, 32, seeds), one)
    finally:
        torch.set_num_threads(threads)


def test_global_random_numbers_and_images_are_left_alone() -> None:
    images, state = smooth(2), torch.random.get_rng_state()
    augment(images, 3, [0, 1])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(images, smooth(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("how", HOWS, ids=str)
def test_on_a_gpu(how: AugMix) -> None:
    images, seeds = smooth(3), [0, 1, 2]
    found = augment(images.cuda(), 16, seeds, how)
    assert found.is_cuda
    assert (found.cpu() - augment(images, 16, seeds, how)).abs().max() < ROUNDING


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(2, 3, 8, 8)}, r"torch.uint8 \(m, 3, h, w\), not torch.float32"),
        ({"images": smooth(2)[:, :1]}, r"not torch.uint8 \(2, 1, 32, 32\)"),
        ({"images": smooth(2)[0]}, r"not torch.uint8 \(3, 32, 32\)"),
        ({"images": smooth(2)[:0], "seeds": []}, r"nothing to augment: \(0, 3, 32, 32\)"),
        ({"n": 0}, "0 augmentations: 1 or more"),
        ({"n": -1}, "-1 augmentations: 1 or more"),
        ({"seeds": [1]}, "1 seeds for 2 images"),
        ({"seeds": [1, -4]}, "0 or more, not -4"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    arguments = {"images": smooth(2), "n": 2, "seeds": [0, 1]} | change
    with pytest.raises(ValueError, match=message):
        augment(**arguments)  # type: ignore[arg-type]
