"""Crops against torchvision's on Pillow's images: no value differs."""

import pytest
import torch
from pillow_augmix import picture, pixels
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from surgicalft.testtime.crops import crop


def noise(k: int, h: int, w: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (k, 3, h, w), dtype=torch.uint8, generator=random)


def boxes(k: int, h: int, w: int) -> Tensor:
    """Of every size up to the image's, anywhere in it."""
    random = torch.Generator().manual_seed(1)
    size = torch.tensor([h, w])
    inner = 1 + (torch.rand(k, 2, generator=random) * size).long()
    start = (torch.rand(k, 2, generator=random) * (size - inner + 1)).long()
    return torch.cat([start, inner], 1)


@pytest.mark.parametrize("size", [(32, 32), (21, 34), (3, 2), (224, 224)], ids=str)
def test_stretched_boxes(size: tuple[int, int]) -> None:
    k = 100 if size[0] < 100 else 8
    images, box, flip = noise(k, *size), boxes(k, *size), torch.arange(k) % 2 == 0
    found = crop(images, box, flip)
    for image, where, mirrored, one in zip(images, box.tolist(), flip, found, strict=True):
        resized = F.resized_crop(picture(image), *where, size, InterpolationMode.BILINEAR)
        assert torch.equal(one, pixels(F.hflip(resized) if mirrored else resized))


def test_padded_crops() -> None:
    images = noise(81, 12, 10)
    starts = torch.cartesian_prod(torch.arange(9), torch.arange(9))
    box = torch.cat([starts, torch.tensor([[12, 10]]).expand(81, 2)], 1)
    flip = torch.arange(81) % 3 == 0
    found = crop(images, box, flip, padding=4)
    for image, where, mirrored, one in zip(images, box.tolist(), flip, found, strict=True):
        cut = F.crop(F.pad(picture(image), [4]), *where)
        assert torch.equal(one, pixels(F.hflip(cut) if mirrored else cut))


def test_whole_box_changes_nothing() -> None:
    images = noise(2, 9, 7)
    whole = torch.tensor([[0, 0, 9, 7]] * 2)
    assert torch.equal(crop(images, whole, torch.tensor([False, False])), images)
    # beside a smaller box, the same pixels go through the interpolation
    beside = torch.tensor([[0, 0, 9, 7], [1, 1, 4, 4]])
    assert torch.equal(crop(images, beside, torch.tensor([False, True]))[0], images[0])
