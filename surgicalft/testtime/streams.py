"""Which images a run sees, and in which order."""

import torch
import torch.nn.functional as F
from torch import Tensor

from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import LazyImages, as_tensor

CELL = 8  # pixels; JPEG keeps the mean of a cell of 8 x 8 best of all
SAME = 3.0  # of 255
ROWS = 1000  # images compared at once


def stream(
    pool: Labelled,
    classes: int,
    seed: int,
    skip: int = 0,
    n_images: int = 0,
    per_class: int = 0,
    left_out: Tensor | None = None,
) -> Labelled:
    """The images of `pool` as they come: chosen in the pool's order, then put in an order that `seed` draws.

    First the indices `left_out` are left out. Then, if asked, all but the first `per_class` of each of the `classes`:
    with 2, the 2,000 images of ImageNet-C in appendix A.6. What is left is permuted, the same for all pools that leave
    as many, so that corruptions of the same images are paired. Of these the first `skip` are dropped and `n_images`
    taken, 0 for all. `LazyImages` are not read.

    Raises ValueError for negative numbers, indices that are not in the pool, a class with fewer than `per_class`
    images, and where nothing or less than asked for is left.
    """
    for name, value in {"skip": skip, "n_images": n_images, "per_class": per_class}.items():
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, not {value}")
    index = _all_but(len(pool), left_out)
    if per_class:
        index = index[_first_of_each(pool.labels[index], classes, per_class)]
    if skip + max(1, n_images) > len(index):
        asked = f"skip={skip} and n_images={n_images or 'all'}"
        raise ValueError(
            f"the stream would be {'empty' if skip >= len(index) else 'too short'}: {len(index)} of {len(pool)} images "
            f"are there ({len(pool) - len(index)} left out or beyond per_class={per_class}), but asked for are {asked}"
        )
    order = index[torch.randperm(len(index), generator=generator("stream", seed))]
    return pool.take(order[skip : skip + n_images if n_images else None])


def copies(pool_images: Tensor | LazyImages, others: Tensor | LazyImages) -> Tensor:
    """Indices, ascending, of the images in `pool_images` that are copies of one in `others`, JPEG's too.

    Both are uint8, (n, c, h, w) and (m, c, h, w). Copies differ by less than SAME = 3 (of 255) in the mean over cells
    of CELL = 8 pixels and channels of |difference of the cell's means|; pixels at the edge that fill no cell do not
    count. JPEG alters means little and edges much: where each of 500 CIFAR-10 test images has one copy of low quality
    among 10,000, the copies are at 0.20 to 2.00 (median 0.88) and the nearest of all others at 6.71; by single pixels
    they would be at 2.0 to 11.8, and others at 9.9. Of 5,085 training images the copies among 50,000 are at 0.18 to
    2.09; the six others below 3 show the same photograph, which CIFAR-10 holds twice, and are found too.

    Corruptions are not copies: look for copies among the images that were corrupted. Raises ValueError for images
    of another type or size.
    """
    for images in (pool_images, others):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(
                f"images must be uint8 (n, c, h, w), not {images.dtype} {tuple(images.shape)}"
            )
    if pool_images.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"images must be of one size, not {tuple(pool_images.shape[1:])} and {tuple(others.shape[1:])}"
        )
    if not len(others) or not len(pool_images):
        return torch.zeros(0, dtype=torch.int64)
    known = _cells(others)
    found = [_near(part, known) for part in _cells(pool_images).split(ROWS)]
    return torch.cat(found).nonzero().flatten()


def _all_but(count: int, left_out: Tensor | None) -> Tensor:
    kept = torch.ones(count, dtype=torch.bool)
    if left_out is not None and len(left_out):
        low, high = left_out.min().item(), left_out.max().item()
        if left_out.dtype != torch.int64 or low < 0 or high >= count:
            raise ValueError(
                f"left_out must be int64 indices from 0 to {count - 1}, not {left_out.dtype} from {low} to {high}"
            )
        kept[left_out] = False
    return kept.nonzero().flatten()


def _first_of_each(labels: Tensor, classes: int, count: int) -> Tensor:
    """Places of the first `count` labels of each class, ascending."""
    there = labels.bincount(minlength=classes)[:classes]
    if few := (there < count).nonzero().flatten().tolist():
        raise ValueError(
            f"class {few[0]} has {int(there[few[0]])} images, fewer than per_class={count}; "
            f"so have {len(few)} of {classes} classes"
        )
    firsts = [(labels == k).nonzero().flatten()[:count] for k in range(classes)]
    return torch.cat(firsts).sort().values


def _cells(images: Tensor | LazyImages) -> Tensor:
    """Means over cells: (n, c, h, w) -> (n, c * cells)."""
    cell = [min(CELL, side) for side in images.shape[2:]]
    parts = images.split(ROWS)
    return torch.cat([F.avg_pool2d(as_tensor(part).float(), cell).flatten(1) for part in parts])


def _near(cells: Tensor, others: Tensor) -> Tensor:
    """Which of these (k, cells) are near one of the others (m, cells): (k,) bool."""
    near = torch.zeros(len(cells), dtype=torch.bool)
    for part in others.split(4 * ROWS):
        near |= (torch.cdist(cells, part, p=1) < SAME * cells.shape[1]).any(1)
    return near
