"""Augmentation shifts and mirrors, and nothing else; what is random is drawn in one place."""

import torch

from surgicalft.models.augmentation import apply, augment, draw


def test_augmentation_moves_and_mirrors():
    images = torch.arange(32 * 32, dtype=torch.int64).view(1, 1, 32, 32) % 251
    images = images.to(torch.uint8).expand(64, 3, 32, 32).contiguous()
    random = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, "none", random), images)
    cropped = augment(images, "crop", random)
    assert cropped.shape == images.shape and cropped.dtype == torch.uint8
    padded = torch.nn.functional.pad(images[:1].float(), (4,) * 4, mode="reflect").to(torch.uint8)
    windows = padded[0, 0].unfold(0, 32, 1).unfold(1, 32, 1).reshape(81, 32, 32)
    assert all((windows == image[0]).all((1, 2)).any() for image in cropped)
    both = augment(images, "crop-flip", random)
    plain = [(windows == image[0]).all((1, 2)).any() for image in both]
    mirrored = [(windows == image[0].flip(1)).all((1, 2)).any() for image in both]
    assert all(p or m for p, m in zip(plain, mirrored, strict=True))
    assert 16 < sum(bool(m) for m in mirrored) < 48


def test_mirrors_alone():
    images = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)
    flipped = augment(images, "flip", torch.Generator().manual_seed(0))
    same, mirrored = ((flipped == x).all((1, 2, 3)) for x in (images, images.flip(3)))
    assert (same | mirrored).all() and 16 < mirrored.sum() < 48


def test_drawn_alike_in_parts():
    """The random numbers depend on the generator alone, not on when they are applied."""
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    whole = augment(images, "crop-flip", torch.Generator().manual_seed(1))
    what = draw("crop-flip", 8, 16, torch.Generator().manual_seed(1))
    assert torch.equal(apply(images, what), whole)
