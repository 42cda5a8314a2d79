"""How well a linear rule on simple image statistics tells target images from source images.

An empirical distance between two sets of inputs, after the proxy A-distance of Ben-David et al. (2007), "Analysis of
Representations for Domain Adaptation": 50 % where the inputs are alike, as under a shift of the labels alone.
"""

from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import as_tensor

GRID = 8  # statistics are averages over GRID x GRID cells
RIDGE = 1e-2


@dataclass(frozen=True)
class ToldApart:
    """Share of held-out images assigned to the right one of two sets, in percent; n images, half of each."""

    accuracy: float
    n: int

    @property
    def error(self) -> float:
        """Binomial standard error at 50 %, in points: what is within two of it may be chance."""
        return 50 / sqrt(self.n)


def told_apart(source: Labelled, target: Labelled, count: int = 1000, seed: int = 0) -> ToldApart:
    """Fit a ridge regression on `count` images of each set, report it on as many others.

    Per cell and channel it sees the mean and the mean absolute difference from the 3 x 3 mean, so that colour,
    place and texture count. Fewer images are used where a set has not 2 * count of them.
    """
    count = min(count, len(source) // 2, len(target) // 2)
    if count < 2:
        raise ValueError(f"4 images of each are needed, not {len(source)} and {len(target)}")
    x = torch.cat([_statistics(_some(data, 2 * count, seed)) for data in (source, target)])
    y = torch.cat([torch.full((2 * count,), sign) for sign in (-1.0, 1.0)]).double()
    half = torch.arange(2 * count) % 2 == 0
    fit = torch.cat([half, half])
    weights = _ridge(x[fit], y[fit])
    right = (_with_one(x[~fit]) @ weights).sign() == y[~fit]
    return ToldApart(100 * right.double().mean().item(), int(right.numel()))


def _some(data: Labelled, count: int, seed: int) -> Tensor:
    index = torch.randperm(len(data), generator=generator("told apart", seed))[:count]
    return as_tensor(data.take(index).images)


def _statistics(images: Tensor) -> Tensor:
    """(n, 3, h, w) uint8 -> (n, 6 * GRID * GRID)."""
    x = images.double() / 255
    texture = (x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)).abs()
    return torch.cat([F.adaptive_avg_pool2d(v, GRID).flatten(1) for v in (x, texture)], 1)


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    x = _with_one(x)
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype) * x.var(0).mean()
    return torch.linalg.solve(x.T @ x + penalty, x.T @ y)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
