"""Images as they come at test time, checked."""

from collections.abc import Sequence

import torch
from torch import Tensor


def as_bytes(images: Tensor, size: tuple[int, ...] | None = None) -> Tensor:
    """Images (n, 3, h, w) as bytes: uint8 as they are, floating-point numbers in [0, 1] rounded to 255ths.

    `size`: the (3, h, w) that the stream began with. Raises ValueError for no images, another shape, type or size, and
    for numbers that are not finite or outside [0, 1].
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must have shape (n, 3, h, w), not {tuple(images.shape)}")
    if not len(images):
        raise ValueError(f"the stream is empty: {tuple(images.shape)}")
    if size is not None and images.shape[1:] != size:
        raise ValueError(f"the stream's images are {size}, not {tuple(images.shape[1:])}")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ValueError(f"images must be uint8, or floating-point in [0, 1], not {images.dtype}")
    if count := int((~images.isfinite()).sum()):
        raise ValueError(f"{count} values of the images are not finite")
    low, high = images.min().item(), images.max().item()
    if low < 0 or high > 1:
        raise ValueError(f"floating-point images must be in [0, 1], not in [{low:g}, {high:g}]")
    return (images * 255).round().to(torch.uint8)


def check_seeds(seeds: Sequence[int] | None, n: int) -> Sequence[int]:
    """One for each of n images, 0 to n - 1 where there are none; ValueError for another number of them."""
    seeds = range(n) if seeds is None else seeds
    if len(seeds) != n:
        raise ValueError(f"{n} images need a seed each, not {len(seeds)}")
    return seeds
