"""The nine operations of AugMix on batches of images, equal to Pillow's to the last bit.

Images are uint8 (k, 3, h, w); a parameter is a tensor (k,) on the CPU, one value per image. Each operation returns new
images of the same shape, on the same device. What Pillow decides and these follow: contrast is stretched and histograms
are equalised channel by channel; interpolated values are cut, not rounded; a pixel whose centre falls outside the image
gets the colour `FILL`, and neighbours beyond the edge repeat it.

Source: Pillow, `PIL.ImageOps`, `PIL.Image.Image.rotate` and `transform` with `BILINEAR`; the choice of the nine is that
of Hendrycks et al. (2020), "AugMix", as in MEMO (Zhang et al. 2022).
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

FILL = (128, 0, 0)  # what Pillow makes of `fillcolor=128` on RGB images: not grey


def autocontrast(images: Tensor) -> Tensor:
    """v -> (v - low) 255 / (high - low), cut to an integer, per channel; constant channels stay."""
    low = images.amin((2, 3), keepdim=True).double()
    high = images.amax((2, 3), keepdim=True).double()
    full = torch.full_like(low, 255)  # a tensor: torch computes 255 / x as 255 (1 / x)
    scale = torch.where(high > low, full / (high - low), 1)
    offset = torch.where(high > low, -low * scale, 0)
    return _cut(images.double().mul_(scale).add_(offset))


def equalize(images: Tensor) -> Tensor:
    """v -> (s // 2 + the number of pixels below v) // s, at most 255, per channel.

    s = (h w - the number of pixels of the brightest value) // 255; where it is 0 the channel stays.
    """
    k, _, h, w = images.shape
    index = images.reshape(k * 3, h * w).long()
    brightest = index.amax(1, keepdim=True)
    index += torch.arange(0, k * 3 * 256, 256, device=images.device)[:, None]
    index = index.flatten()
    counts = torch.bincount(index, minlength=k * 3 * 256).view(k * 3, 256)
    step = (h * w - counts.gather(1, brightest)) // 255
    below = (counts.cumsum(1) - counts + step // 2).double()
    table = (below / step.clamp(min=1)).floor().clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return _cut(table).flatten().index_select(0, index).view(images.shape)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """The first `bits` bits (1 to 8) of every value."""
    mask = (256 - 2 ** (8 - bits.long())).to(images.device, torch.uint8)
    return images & mask[:, None, None, None]


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """v -> 255 - v where v >= threshold (0 to 256)."""
    last = (threshold - 1).to(images.device, torch.int16)
    inverted = (last[:, None, None, None] - images.short()) >> 15  # all bits where negative
    return images ^ inverted.to(torch.uint8)


def shear_x(images: Tensor, level: Tensor) -> Tensor:
    """Row y moves left by level (y + 1/2) pixels."""
    return _shear(images, level, 3)


def shear_y(images: Tensor, level: Tensor) -> Tensor:
    """Column x moves up by level (x + 1/2) pixels."""
    return _shear(images, level, 2)


def translate_x(images: Tensor, distance: Tensor) -> Tensor:
    """Moves left by `distance`, a whole number of pixels."""
    return _translate(images, distance, 3)


def translate_y(images: Tensor, distance: Tensor) -> Tensor:
    """Moves up by `distance`, a whole number of pixels."""
    return _translate(images, distance, 2)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turns anticlockwise about the centre by `degrees`, a whole number in (-90, 90); 0 changes nothing."""
    k, channels, h, w = images.shape
    distinct, which = degrees.unique(return_inverse=True)
    grids = zip(*(_turned(int(d), h, w) for d in distinct), strict=True)
    index, part, inside = (torch.stack(g).index_select(0, which).to(images.device) for g in grids)
    taps = pixels(images, index).double().view(k, channels, 2, 2, h, w)
    dx, dy = part[:, None, :, None].unbind(2)
    rows = _between(taps[:, :, :, 0], taps[:, :, :, 1], dx)
    return _fill(_cut(_between(rows[:, :, 0], rows[:, :, 1], dy[:, :, 0])), inside)


def pixels(images: Tensor, index: Tensor) -> Tensor:
    """The pixels y w + x = index (k, p, q) of images (k, c, h, w), as (k, c, p, q)."""
    k, channels = images.shape[:2]
    flat = index.flatten(1)[:, None].expand(k, channels, -1)
    return images.flatten(2).gather(2, flat).view(k, channels, *index.shape[1:])


def _shear(images: Tensor, level: Tensor, dim: int) -> Tensor:
    """Every line along `dim` moves by a distance of its own, so that two neighbours suffice."""
    length = images.shape[dim]
    across, along = _grid(images, dim, length + 1)
    moved = level.to(images.device, torch.float64)[:, None, None] * (across + 0.5)
    whole = moved.floor()
    place = (along + whole.long()).clamp_(0, length - 1)
    taps = pixels(images, _index(images, dim, across, place)).double()
    here, there = taps.narrow(dim, 0, length), taps.narrow(dim, 1, length)
    centre = along.narrow(dim - 2, 0, length) + 0.5 + moved
    inside = (centre >= 0) & (centre < length)
    return _fill(_cut(_between(here, there, (moved - whole)[:, None])), inside)


def _translate(images: Tensor, distance: Tensor, dim: int) -> Tensor:
    length = images.shape[dim]
    across, along = _grid(images, dim, length)
    place = along + distance.to(images.device, torch.int64)[:, None, None]
    index = _index(images, dim, across, place.clamp(0, length - 1))
    return _fill(pixels(images, index), (place >= 0) & (place < length))


def _grid(images: Tensor, dim: int, length: int) -> tuple[Tensor, Tensor]:
    """The lines along `dim` and `length` places on a line, numbered, so that they broadcast to (rows, columns)."""
    across = torch.arange(images.shape[5 - dim], device=images.device)
    along = torch.arange(length, device=images.device)
    return (across[:, None], along[None]) if dim == 3 else (across[None], along[:, None])


def _index(images: Tensor, dim: int, across: Tensor, along: Tensor) -> Tensor:
    width = images.shape[3]
    return across * width + along if dim == 3 else along * width + across


@lru_cache(maxsize=16)  # level 1 needs four
def _turned(degrees: int, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where pixels come from: the index of 4 neighbours (4, h w), how far between them in x and y (2, h, w), inside."""
    angle = -math.radians(degrees % 360)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x_out = torch.arange(w, dtype=torch.float64) + 0.5
    y_out = torch.arange(h, dtype=torch.float64)[:, None] + 0.5
    x = cos * x_out + sin * y_out + (cos * (-w / 2) + sin * (-h / 2) + w / 2)
    y = -sin * x_out + cos * y_out + (-sin * (-w / 2) + cos * (-h / 2) + h / 2)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    x, y = x - 0.5, y - 0.5
    left, upper = x.floor(), y.floor()
    columns = [(left + i).clamp(0, w - 1).long() for i in (0, 1)]
    rows = [(upper + i).clamp(0, h - 1).long() for i in (0, 1)]
    index = torch.stack([(row * w + column).flatten() for row in rows for column in columns])
    return index, torch.stack([x - left, y - upper]), inside


def _between(here: Tensor, there: Tensor, part: Tensor) -> Tensor:
    return (there - here).mul_(part).add_(here)


def _cut(values: Tensor) -> Tensor:
    """float64 to uint8, towards 0; the detour is several times faster on a CPU."""
    return values.to(torch.int16).to(torch.uint8)


def _fill(images: Tensor, inside: Tensor) -> Tensor:
    """In place: `FILL` where not `inside` (k, h, w)."""
    kept = inside.to(torch.uint8)
    images *= kept[:, None]
    outside = kept ^ 1
    for channel, value in enumerate(FILL):
        if value:
            images[:, channel].add_(outside, alpha=value)
    return images
