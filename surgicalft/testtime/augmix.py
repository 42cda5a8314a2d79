"""Settings and random numbers of AugMix; `surgicalft.testtime.augment` makes images of them.

Source: Hendrycks et al. (2020), "AugMix", at the settings and with the ranges of MEMO's code (Zhang et al. 2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from surgicalft.settings import check_choice

CROPS = ("padded", "resized", "none")
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a resized crop: share of the area, width / height
TRIES = 10  # of a box that may not fit; then the largest in the middle, as in torchvision
NONE = -1  # in place of an operation: the chain has ended, or nothing would change


class Kind(NamedTuple):
    """An operation and its parameter, level / 10 of the largest value."""

    name: str
    largest: float = 0.0
    of: str = ""  # `largest` is in units of this side of the image
    whole: bool = True  # cut to an integer
    signed: bool = False  # negative half the time; 0 changes nothing
    down_from: int = 0  # the parameter is this minus the value


KINDS = (
    Kind("autocontrast"),
    Kind("equalize"),
    Kind("rotate", 30, signed=True),
    Kind("solarize", 256, down_from=256),
    Kind("shear_x", 0.3, whole=False, signed=True),
    Kind("shear_y", 0.3, whole=False, signed=True),
    Kind("translate_x", 1 / 3, of="width", signed=True),
    Kind("translate_y", 1 / 3, of="height", signed=True),
    Kind("posterize", 4, down_from=4),
)
WHOLE = torch.tensor([kind.whole for kind in KINDS])
SIGNED = torch.tensor([kind.signed for kind in KINDS])
TOP = torch.tensor([kind.down_from for kind in KINDS], dtype=torch.float64)


@dataclass(frozen=True)
class AugMix:
    """How an image is augmented; the defaults are MEMO's for CIFAR, `crop="resized"` is MEMO's for ImageNet."""

    crop: str = "padded"  # by `padding` zeros, then at random; "resized": a box, stretched; "none"
    flip: bool = True  # mirrored half the time
    level: float = 1.0  # of each operation, drawn from (0.1, level); at most 10
    width: int = 3  # chains
    depth: int = 3  # operations in a chain: 1 to depth
    padding: int = 4  # pixels on each side

    def __post_init__(self) -> None:
        check_choice("crop", self.crop, CROPS)
        if not 0.1 < self.level <= 10:
            raise ValueError(f"level must be more than 0.1 and at most 10, not {self.level}")
        for name, least in (("width", 1), ("depth", 1), ("padding", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer, {least} or more, not {value}")


@dataclass(frozen=True)
class Draws:
    """What augmentations are made of; rows are images x augmentations, image by image."""

    box: Tensor  # int64 (rows, 4): top, left, height, width, in the padded image
    flip: Tensor  # bool (rows,)
    operations: Tensor  # int64 (rows, width, depth): index into KINDS, or NONE
    parameters: Tensor  # float64 (rows, width, depth)
    weights: Tensor  # float32 (rows, 1 + width): m of the crop, (1 - m) w_i of the chains; sum to 1


def draw(seeds: Sequence[int], n: int, size: tuple[int, int], how: AugMix) -> Draws:
    """n augmentations per seed, for images of that (height, width), on the CPU.

    A seed's draws depend on `size` and `how` besides, and the first of n are the same for every n. m ~ Beta(1, 1) is
    uniform; w ~ Dirichlet(1, ..., 1) are the gaps between 0, sorted uniform numbers and 1.
    """
    slots = how.width * how.depth
    counts = [2 + 2 * TRIES if how.crop == "resized" else 2, 1, how.width, how.width] + 3 * [slots]
    numbers = [np.random.default_rng(seed).random((n, sum(counts))) for seed in seeds]
    uniform = torch.from_numpy(np.concatenate(numbers))
    box, flip, weights, lengths, *chains = uniform.split(counts, 1)
    kinds, levels, signs = (part.reshape(-1, how.width, how.depth) for part in chains)
    operations = (kinds * len(KINDS)).long()
    parameters, idle = _parameters(operations, 0.1 + levels * (how.level - 0.1), signs, size)
    ended = torch.arange(how.depth) > (lengths * how.depth).long()[..., None]
    return Draws(
        box=_boxes(box, size, how),
        flip=(flip[:, 0] < 0.5) & how.flip,
        operations=operations.masked_fill(ended | idle, NONE),
        parameters=parameters,
        weights=_weights(weights),
    )


def _parameters(
    operations: Tensor, levels: Tensor, signs: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The parameters, and which of them change nothing."""
    units = {"": 1, "height": size[0], "width": size[1]}
    largest = torch.tensor([k.largest * units[k.of] for k in KINDS], dtype=torch.float64)
    value = levels * largest[operations] / 10
    value = torch.where(WHOLE[operations], value.trunc(), value)
    signed, top = SIGNED[operations], TOP[operations]
    negative = (signs > 0.5) & signed | (top > 0)
    return top + torch.where(negative, -value, value), signed & (value == 0)


def _weights(uniform: Tensor) -> Tensor:
    """(rows, width) -> (rows, 1 + width): m and (1 - m) w."""
    m, inner = uniform[:, :1], uniform[:, 1:].sort(1).values
    w = torch.cat([torch.zeros_like(m), inner, torch.ones_like(m)], 1).diff(dim=1)
    return torch.cat([m, (1 - m) * w], 1).float()


def _boxes(uniform: Tensor, size: tuple[int, int], how: AugMix) -> Tensor:
    """(rows, ...) -> int64 (rows, 4), within the padded image."""
    extent = torch.tensor(size).expand(len(uniform), 2)
    if how.crop == "none":
        return torch.cat([torch.zeros_like(extent), extent], 1)
    if how.crop == "padded":
        return torch.cat([(uniform * (2 * how.padding + 1)).long(), extent], 1)
    inner, middle = _resized(uniform[:, 2:], size)
    free = extent - inner
    start = (uniform[:, :2] * (free + 1)).long()
    return torch.cat([torch.where(middle, free // 2, start), inner], 1)


def _resized(uniform: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Height and width (rows, 2) of the first box of TRIES that fits, and where (rows, 1) none does."""
    h, w = size
    area = (SCALE[0] + uniform[:, :TRIES] * (SCALE[1] - SCALE[0])) * h * w
    low, high = (math.log(r) for r in RATIO)
    # one by one: a vectorised exp may differ in the last bit with a number's place in the batch
    flat = (low + uniform[:, TRIES:] * (high - low)).flatten().tolist()
    ratio = torch.tensor([math.exp(v) for v in flat], dtype=torch.float64).view(area.shape)
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], 2).round().long()
    fits = ((sides > 0) & (sides <= torch.tensor(size))).all(2)
    first = sides[torch.arange(len(sides)), fits.int().argmax(1)]
    largest = torch.tensor([min(h, round(w / RATIO[0])), min(w, round(h * RATIO[1]))])
    none = ~fits.any(1, keepdim=True)
    return torch.where(none, largest, first), none
