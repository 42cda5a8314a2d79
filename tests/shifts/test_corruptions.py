"""Corruptions against what is known: published constants, formulas by hand, loops, accuracies."""

import colorsys
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import numpy._core.multiarray
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.shifts.corruptions import (
    CONSTANTS,
    CORRUPTIONS,
    DRAWN,
    IMAGENET_CONSTANTS,
    SEVERITIES,
    blur,
    corrupt,
    digital,
    droplets,
)
from surgicalft.shifts.corruptions.batch import bilinear, mirror, reflect, streak, zoom_matrix
from surgicalft.shifts.corruptions.ice import ice

# Accuracy (%) of MEMO's checkpoint without adaptation on REFERENCE_N exact test images, corrupted
# by the published recipe at severity 5.
REFERENCE_N = 1017
REFERENCE = {
    "gaussian_noise": 50.1,
    "shot_noise": 52.9,
    "impulse_noise": 50.5,
    "defocus_blur": 75.8,
    "snow": 76.9,
    "frost": 65.9,
    "fog": 71.7,
    "brightness": 86.8,
    "contrast": 69.6,
    "elastic_transform": 74.3,
}
CLEAN = 92.1
RANDOM = set(CORRUPTIONS) - {
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
}


def pictures(n: int = 6, size: int = 32) -> Tensor:
    """Smooth coloured images: rough noise would hide what a blur does."""
    rng = np.random.default_rng(0)
    waves = rng.uniform(0.02, 0.4, (n, 3, 2, 1, 1)) * np.indices((size, size))
    phase = rng.uniform(0, 6, (n, 3, 1, 1))
    return torch.from_numpy(np.uint8(127.5 + 120 * np.sin(waves.sum(axis=2) + phase)))


def rngs(n: int) -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in range(n)]


def test_the_published_names_and_constants() -> None:
    assert len(CORRUPTIONS) == 19
    assert CORRUPTIONS[0] == "gaussian_noise"
    assert CORRUPTIONS[14:16] == ("jpeg_compression", "speckle_noise")
    assert all(len(levels) == len(SEVERITIES) for levels in CONSTANTS.values())
    assert CONSTANTS["gaussian_noise"][4] == 0.10  # ImageNet-C: 0.38
    assert CONSTANTS["contrast"][4] == 0.15  # ImageNet-C: 0.05
    assert set(CORRUPTIONS) > DRAWN


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_is_seeded_per_image(name: str, severity: int) -> None:
    images = pictures()
    before = images.clone()
    whole = corrupt(images, name, severity)
    assert whole.dtype == torch.uint8
    assert whole.shape == images.shape
    assert torch.equal(images, before)
    assert not torch.equal(whole, images)
    subset = torch.tensor([4, 1])
    assert torch.equal(corrupt(images[subset], name, severity, index=subset), whole[subset])
    other_seed = corrupt(images, name, severity, seed=1)
    assert torch.equal(other_seed, whole) == (name not in RANDOM)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_equal_images_get_different_corruptions(name: str) -> None:
    twins = pictures(1).repeat(2, 1, 1, 1)
    first, second = corrupt(twins, name, 5)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("size", [8, 17, 48])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_other_sizes(name: str, size: int) -> None:
    images = pictures(2, size)
    assert corrupt(images, name, 5).shape == images.shape


def test_chunks_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(7)
    whole = corrupt(images, "elastic_transform", 3)
    monkeypatch.setattr("surgicalft.shifts.corruptions.CHUNK", 2)
    assert torch.equal(corrupt(images, "elastic_transform", 3), whole)


def test_memory_order_and_emptiness_do_not_matter(capsys: pytest.CaptureFixture[str]) -> None:
    images = pictures()
    channels_last = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(corrupt(channels_last, "fog"), corrupt(images, "fog", progress=True))
    assert "fog/5: 6/6" in capsys.readouterr().out
    assert corrupt(images[:0], "fog").shape == (0, 3, 32, 32)


UNEVEN = {"glass_blur", "frost", "elastic_transform", "spatter", "saturate"}


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in UNEVEN])
def test_severity_grows(name: str) -> None:
    """Squared change; `UNEVEN`: the published levels trade one distortion for another."""
    images = pictures(40)
    change = [
        (corrupt(images, name, s).float() - images.float()).square().mean().item()
        for s in SEVERITIES
    ]
    assert change == sorted(change)
    assert change[4] > 1.2 * change[0]


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise"])
@pytest.mark.parametrize("severity", [1, 5])
def test_noise_has_its_standard_deviation(name: str, severity: int) -> None:
    x, c = 0.4, CONSTANTS[name][severity - 1]  # far from the borders, so that clipping is rare
    expected = {"gaussian_noise": c, "shot_noise": (x / c) ** 0.5, "speckle_noise": x * c}[name]
    image = torch.full((40, 3, 32, 32), round(255 * x), dtype=torch.uint8)
    noise = (corrupt(image, name, severity).double() - 255 * x) / 255
    assert noise.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(noise.mean().item() + 0.5 / 255) < 0.001  # truncation costs half a level


def test_impulse_noise_replaces_its_share() -> None:
    image = torch.full((40, 3, 32, 32), 100, dtype=torch.uint8)
    noisy = corrupt(image, "impulse_noise", 5)
    assert set(noisy.unique().tolist()) == {0, 100, 255}
    for extreme in (0, 255):
        assert (noisy == extreme).double().mean().item() == pytest.approx(0.035, rel=0.1)


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_a_constant_image_has_no_contrast_to_lose(level: int) -> None:
    image = torch.full((1, 3, 32, 32), level, dtype=torch.uint8)
    for name in ("contrast", "defocus_blur", "gaussian_blur", "glass_blur", "motion_blur"):
        assert torch.equal(corrupt(image, name, 5), image), name
    for name in ("zoom_blur", "pixelate", "elastic_transform"):
        assert torch.equal(corrupt(image, name, 5), image), name


def test_contrast_by_hand() -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[:, :, :4] = 200
    expected = {0: 85, 200: 115}  # mean 100, factor 0.15
    grey = corrupt(image, "contrast", 5)
    assert set(grey[image == 0].tolist()) == {expected[0]}
    assert set(grey[image == 200].tolist()) == {expected[200]}


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["brightness", "saturate"])
def test_hsv_without_conversion_equals_colorsys(name: str, severity: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 12, 12))
    pixels[0, :, 0, :3] = [0, 128, 255]  # black, grey, white
    c = CONSTANTS[name][severity - 1]
    expected = np.empty(pixels.shape)
    for row, column in np.ndindex(12, 12):
        h, s, v = colorsys.rgb_to_hsv(*(pixels[0, :, row, column] / 255))
        if name == "brightness":
            v = min(v + c, 1)
        else:
            s = min(max(s * c[0] + c[1], 0), 1)
        expected[0, :, row, column] = colorsys.hsv_to_rgb(h, s, v)
    out = getattr(digital, name)(pixels / 255, [], c)
    np.testing.assert_allclose(out, expected, atol=1e-12)


def as_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def test_jpeg_and_pixelate_are_pillows() -> None:
    image = pictures(1)
    buffer = io.BytesIO()
    as_pil(image[0]).save(buffer, "JPEG", quality=40)
    expected = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
    assert torch.equal(corrupt(image, "jpeg_compression", 5)[0], expected)
    box = Image.Resampling.BOX
    small = as_pil(image[0]).resize((20, 20), box)  # int(0.65 * 32)
    expected = torch.from_numpy(np.array(small.resize((32, 32), box))).permute(2, 0, 1)
    assert torch.equal(corrupt(image, "pixelate", 5)[0], expected)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_blur_is_the_published_loop(reach: int) -> None:
    """One pass of the loop as published, where `a, b = b, a` on views of pixels only copies."""
    x = pictures(2).permute(0, 2, 3, 1).double().numpy()
    side = 32 - 2 * reach
    moves = [rng.integers(-reach, reach, (2, side, side)) for rng in rngs(2)]
    first = reach + 1
    for image, (dy, dx) in zip(x, moves, strict=True):
        for h in range(32 - reach, reach, -1):
            for w in range(32 - reach, reach, -1):
                other = h + dy[h - first, w - first], w + dx[h - first, w - first]
                image[h, w], image[other] = image[other], image[h, w]
    start = pictures(2).double().numpy()
    np.testing.assert_array_equal(blur._frosted(start, rngs(2), reach), x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("degrees", [-120.0, -45.0, 0.0, 30.0, 90.0])
def test_streak_equals_a_loop(degrees: float) -> None:
    x = pictures(1, 12).double().numpy() / 255
    weights = np.exp(-(np.arange(9) ** 2) / (2 * 2.0**2))
    a, expected = np.deg2rad(degrees), np.zeros_like(x)
    for row, column in np.ndindex(12, 12):
        for i, weight in enumerate(weights / weights.sum()):
            r = min(max(row + int(np.ceil(i * np.sin(a) - 0.5)), 0), 11)
            c = min(max(column + int(np.ceil(i * np.cos(a) - 0.5)), 0), 11)
            expected[..., row, column] += weight * x[..., r, c]
    out = streak(x, 4, 2.0, np.array([degrees]))
    assert np.abs(out - expected).max() <= 0.5001 / 255


def test_disk() -> None:
    """Radius 1 is a plus of five pixels; the 3x3 smoothing with sigma 0.2 hardly changes it."""
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5
    disk = blur.disk(1, 0.2)
    assert disk.sum() == pytest.approx(1)
    np.testing.assert_allclose(disk[1:-1, 1:-1], plus, atol=1e-5)
    assert blur.disk(0.3, 0.4).shape == (3, 3)


@pytest.mark.parametrize(("radius", "sigma"), [(3, 0.1), (8, 0.5), (10, 0.5)])
def test_disk_of_imagenet_equals_a_loop(radius: int, sigma: float) -> None:
    """The published grid, 17 or 21 pixels wide, and taps, 3 or 5, with pixels outside it mirrored."""
    reach, taps = (8, 1) if radius <= 8 else (10, 2)
    line = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * sigma**2))
    line /= line.sum()
    side = np.arange(-reach, reach + 1)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(float)
    disk /= disk.sum()
    expected = np.zeros_like(disk)
    for row, column, i, j in np.ndindex(len(side), len(side), len(line), len(line)):
        r, c = (2 * reach - abs(2 * reach - abs(at)) for at in (row + i - taps, column + j - taps))
        expected[row, column] += line[i] * line[j] * disk[r, c]
    out = blur.disk(radius, sigma)
    margin = (len(expected) - len(out)) // 2
    np.testing.assert_allclose(np.pad(out, margin), expected, atol=1e-12)


def test_a_large_disk_by_fourier_transform_equals_the_sum() -> None:
    x = pictures(2, 40).double().numpy() / 255
    direct = ndimage.correlate(x, blur.disk(10, 0.5)[None, None], mode="mirror")
    np.testing.assert_allclose(blur.defocus_blur(x, [], (10, 0.5)), direct, atol=1e-12)


def test_zoom_blur_is_the_mean_of_the_magnified() -> None:
    x = pictures(1).double().numpy() / 255
    zooms = [zoom_matrix(32, factor) for factor in np.arange(1, 1.31, 0.03)]
    expected = (x + sum(z @ x @ z.T for z in zooms)) / 12
    np.testing.assert_allclose(blur.zoom_blur(x, [], (1.31, 0.03)), expected, atol=1e-12)


def test_zoom_keeps_lines_and_corners() -> None:
    """A ramp of 8 pixels magnified by 2: its four central pixels stretched over all eight."""
    z = zoom_matrix(8, 2.0)
    np.testing.assert_allclose(z @ np.arange(8.0), np.linspace(2, 5, 8))
    np.testing.assert_array_equal(zoom_matrix(8, 1.0), np.eye(8))


def test_folding_at_the_edges() -> None:
    index = np.arange(-4, 8)
    assert mirror(index, 4).tolist() == [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    assert reflect(index, 4).tolist() == [3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0]


def test_bilinear_is_exact_on_a_plane() -> None:
    rows, columns = np.indices((8, 8), dtype=np.float64)
    plane = (3 * rows - 2 * columns)[None, None]
    y, x = 0.3 + 0.8 * rows, 0.1 + 0.7 * columns
    np.testing.assert_allclose(bilinear(plane, y[None], x[None], mirror)[0, 0], 3 * y - 2 * x)


def test_the_affine_map_moves_the_three_points() -> None:
    """Equal shifts of the three points translate: what was at p is found at p + shift."""
    x = pictures(1).double().numpy() / 255
    shifted = digital._affine(x, np.broadcast_to([3.0, -2.0], (1, 3, 2)))  # right 3, up 2
    np.testing.assert_allclose(shifted[..., :-2, 3:], x[..., 2:, :-3], atol=1e-9)


def test_edges_are_opencvs() -> None:
    """A blob and its Canny edges (thresholds 50 and 150) as OpenCV draws them."""
    layer = np.zeros((1, 10, 12), np.int64)
    layer[0, 4:7, 4:8], layer[0, 5, 6] = 200, 220
    expected = np.zeros((10, 12), bool)
    expected[[4, 6], 4:8], expected[5, [3, 7]] = True, True
    np.testing.assert_array_equal(droplets.edges(layer)[0], expected)


def test_the_images_of_a_batch_do_not_mix() -> None:
    liquid = np.random.default_rng(0).integers(0, 2, (4, 16, 16)) * 200
    together = droplets.relief(liquid)
    alone = np.concatenate([droplets.relief(layer[None]) for layer in liquid])
    np.testing.assert_array_equal(together, alone)


def test_chamfer_distance() -> None:
    targets = np.zeros((2, 32, 32), bool)
    targets[0, 0, 0] = True
    d, none = droplets.distance(targets)
    known = {(0, 5): 5, (4, 4): 5.6, (1, 2): 2.1969, (3, 6): 3 * 2.1969, (2, 3): 1.4 + 2.1969}
    for place, value in known.items():
        assert d[place] == pytest.approx(value)
    assert d[31, 31] == droplets.FAR
    assert (none == droplets.FAR).all()


def test_equalise_by_hand() -> None:
    x = np.array([[[2, 2], [3, 5]], [[4, 4], [4, 4]]])
    assert droplets.equalise(x).tolist() == [[[0, 0], [128, 255]], [[4, 4], [4, 4]]]


def test_the_published_constants_of_imagenet() -> None:
    assert tuple(IMAGENET_CONSTANTS) == CORRUPTIONS
    assert all(len(levels) == len(SEVERITIES) for levels in IMAGENET_CONSTANTS.values())
    assert IMAGENET_CONSTANTS["gaussian_noise"][4] == 0.38
    assert IMAGENET_CONSTANTS["contrast"][4] == 0.05
    pixels = [224 * share for share in IMAGENET_CONSTANTS["elastic_transform"][4]]
    assert pixels == pytest.approx([244 * 0.12, 244 * 0.01, 244 * 0.02])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_imagenet_is_seeded_per_image(name: str) -> None:
    """Chunks hold fewer of the larger images: these seven take two."""
    images = pictures(7, 224)
    whole = corrupt(images, name, 5, constants="imagenet")
    some = torch.tensor([6, 2])
    part = corrupt(images[some], name, 5, index=some, constants="imagenet")
    assert torch.equal(part, whole[some])
    assert not torch.equal(whole, corrupt(images, name, 5))


def test_the_ice_of_imagenet_is_coarser() -> None:
    """Neighbouring pixels differ less where the crystals are five times as large."""
    steps = [np.abs(np.diff(ice(rngs(3), 224, scale), axis=-1)).mean() for scale in (1, 5)]
    assert steps[1] < steps[0] / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "rain"}, "'rain'; legal: gaussian_noise, shot_noise"),
        ({"severity": 0}, r"\(1, 2, 3, 4, 5\), not 0"),
        ({"severity": 2.0}, "not 2.0"),
        ({"images": pictures().float()}, "torch.float32"),
        ({"images": pictures()[:, :, :16]}, r"\(6, 3, 16, 32\)"),
        ({"images": pictures()[:, :, :7, :7]}, "s >= 8"),
        ({"images": pictures()[:, :1]}, r"\(6, 1, 32, 32\)"),
        ({"images": pictures()[0]}, r"\(3, 32, 32\)"),
        ({"constants": "imagnet"}, "cifar, imagenet, not 'imagnet'"),
        ({"index": torch.arange(5)}, r"shape \(6,\), not torch.int64 \(5,\)"),
        ({"index": torch.arange(6.0)}, "torch.float32"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    arguments = {"images": pictures(), "name": "fog", "severity": 5} | change
    with pytest.raises(ValueError, match=message):
        corrupt(**arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("SURGICALFT_DATA")
    if not folder:
        pytest.skip("SURGICALFT_DATA is unset: no real images")
    return Path(folder)


@pytest.fixture(scope="module")
def exact_test_images(data: Path) -> tuple[Tensor, Tensor]:
    pairs = []
    with tarfile.open(data / "cifar10-lossless-png.tar.xz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            file = archive.extractfile(member) if "test" in parts else None
            if file is not None:
                pairs.append((parts[-2], np.array(Image.open(file).convert("RGB"))))
    classes = sorted({name for name, _ in pairs})
    images = torch.from_numpy(np.stack([image for _, image in pairs])).permute(0, 3, 1, 2)
    return images, torch.tensor([classes.index(name) for name, _ in pairs])


@pytest.fixture(scope="module")
def memo(data: Path) -> ResNetCifar:
    scalar = (numpy._core.multiarray.scalar, "numpy.core.multiarray.scalar")
    with torch.serialization.safe_globals([scalar, np.dtype, np.dtypes.Float64DType]):
        state = torch.load(data / "memo-cifar10-rn26-gn.pth", weights_only=True, map_location="cpu")
    net = ResNetCifar(26, norm="group")
    net.load_state_dict(state["net"])
    return net.eval()


@torch.no_grad()
def check_accuracy(net: ResNetCifar, images: Tensor, labels: Tensor, expected: float) -> None:
    """Within 2.5 standard errors of a difference, as if the two sets of images were unrelated."""
    right = [net(x.float() / 255).argmax(1) == y for x, y in zip(images, labels, strict=True)]
    p = expected / 100
    error = (p * (1 - p) * (1 / labels.numel() + 1 / REFERENCE_N)) ** 0.5
    assert abs(torch.cat(right).double().mean().item() - p) < 2.5 * error


def test_clean_accuracy(memo: ResNetCifar, exact_test_images: tuple[Tensor, Tensor]) -> None:
    images, labels = exact_test_images
    check_accuracy(memo, images[None], labels[None], CLEAN)


@pytest.mark.parametrize("name", REFERENCE)
def test_published_accuracy(
    memo: ResNetCifar, exact_test_images: tuple[Tensor, Tensor], name: str
) -> None:
    images, labels = exact_test_images
    check_accuracy(memo, corrupt(images, name, 5)[None], labels[None], REFERENCE[name])
