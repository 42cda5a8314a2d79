"""Every operation against Pillow's, pixel for pixel: no value differs."""

import pytest
import torch
from pillow_augmix import OPERATIONS, picture
from pillow_augmix import pixels as pixels_of
from torch import Tensor

from surgicalft.testtime import image_operations
from surgicalft.testtime.augmix import KINDS
from surgicalft.testtime.image_operations import FILL, equalize, rotate, solarize, translate_x

SIZES = [(32, 32), (17, 23), (1, 1)]
RANGES = {  # of parameters: what levels up to 10 can reach, or all that is legal
    "rotate": (-30, 30),
    "solarize": (0, 256),
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "translate_x": (-11, 11),
    "translate_y": (-11, 11),
    "posterize": (1, 8),
}


def pictures(h: int, w: int) -> Tensor:
    """Noise, few grey levels, constant, smooth, almost all dark, two values apart by one: 8 of each."""
    random = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(8, 3, *shape, generator=random)

    smooth = torch.nn.functional.interpolate(uniform(4, 4), (h, w), mode="bicubic")
    kinds = [
        uniform(h, w) * 256,
        (uniform(h, w) * 3).floor() * 40 + 50,
        (uniform(1, 1) * 256).expand(8, 3, h, w),
        smooth * 100 + 80,
        uniform(h, w) ** 12 * 256,
        (uniform(1, 1) * 254).floor() + (uniform(h, w) * 2).floor(),
    ]
    return torch.cat(kinds).clamp(0, 255).to(torch.uint8)


def parameters(name: str, n: int, share: float = 1.0) -> Tensor:
    low, high = (share * end for end in RANGES[name])
    random = torch.Generator().manual_seed(1)
    drawn = torch.rand(n, dtype=torch.float64, generator=random)
    if name.startswith("shear"):
        return low + drawn * (high - low)
    return (low + drawn * (high - low + 1)).floor()


def check(name: str, images: Tensor, values: Tensor | None) -> None:
    function = getattr(image_operations, name)
    before = images.clone()
    found = function(images) if values is None else function(images, values)
    each = torch.zeros(len(images)) if values is None else values
    expected = [
        pixels_of(OPERATIONS[name](picture(image), value))
        for image, value in zip(images, each.tolist(), strict=True)
    ]
    assert found.dtype == torch.uint8
    assert torch.equal(found, torch.stack(expected))
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_contrast_is_pillows(name: str, size: tuple[int, int]) -> None:
    check(name, pictures(*size), None)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", RANGES)
def test_operation_is_pillows_over_its_range(name: str, size: tuple[int, int]) -> None:
    images = pictures(*size)
    check(name, images, parameters(name, len(images)))


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_operation_is_pillows_at_level_1(name: str) -> None:
    images = pictures(32, 32)
    check(name, images, parameters(name, len(images), 0.1))


@pytest.mark.parametrize("name", RANGES)
def test_operation_is_pillows_on_large_images(name: str) -> None:
    check(name, pictures(224, 224)[::8], parameters(name, 6))


def test_all_kinds_are_compared() -> None:
    assert [kind.name for kind in KINDS] == list(OPERATIONS)
    assert {*RANGES, "autocontrast", "equalize"} == set(OPERATIONS)


def test_outside_is_dark_red_as_pillow_reads_128() -> None:
    moved = translate_x(torch.full((1, 3, 2, 4), 200, dtype=torch.uint8), torch.tensor([1.0]))
    assert moved[0, :, :, -1].T.tolist() == [list(FILL)] * 2
    assert (moved[..., :-1] == 200).all()


def test_solarize_by_hand() -> None:
    row = torch.tensor([0, 99, 100, 255], dtype=torch.uint8).expand(3, 3, 1, 4)
    found = solarize(row, torch.tensor([100.0, 0.0, 256.0]))[:, 0, 0].tolist()
    assert found == [[0, 99, 155, 0], [255, 156, 155, 0], [0, 99, 100, 255]]


def test_equalized_values_are_about_equally_frequent() -> None:
    image = (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) ** 3 * 256).byte()
    for channel in equalize(image)[0]:
        below = [(channel < v).double().mean().item() for v in (64, 128, 192)]
        assert below == pytest.approx([0.25, 0.5, 0.75], abs=0.06)


def test_turning_by_nothing() -> None:
    images = pictures(9, 12)
    assert torch.equal(rotate(images, torch.zeros(len(images))), images)
