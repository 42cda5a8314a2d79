"""Brightness, contrast, elastic, pixelate, JPEG, saturate: x (n, 3, h, w) in [0, 1] -> same shape.

Source: Hendrycks & Dietterich (2019), appendix B. Changing only V or S of HSV needs no conversion:
with V = max(r, g, b) a channel is V (1 - S k), where k depends on the hue alone.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from surgicalft.shifts.corruptions.batch import (
    Array,
    Generators,
    bilinear,
    draw,
    mirror,
    reflect,
    smooth,
)


def brightness(x: Array, rngs: Generators, addend: float) -> Array:
    """HSV with V -> min(V + addend, 1); black, which has no hue, becomes grey."""
    value = x.max(axis=1, keepdims=True)
    brighter = np.minimum(value + addend, 1)
    return np.where(value > 0, x * brighter / np.where(value > 0, value, 1), brighter)


def saturate(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """HSV with S -> clip(factor S + addend, 0, 1); grey, whose hue counts as 0, turns reddish."""
    value = x.max(axis=1, keepdims=True)
    fall = value - x  # V S k
    depth = fall.max(axis=1, keepdims=True)  # V S: the largest k is 1
    grey = depth == 0
    target = value * np.clip(c[0] * depth / np.where(value > 0, value, 1) + c[1], 0, 1)
    red = np.array([0.0, 1, 1])[:, None, None]  # k of hue 0
    return value - target * np.where(grey, red, fall / np.where(grey, 1, depth))


def contrast(x: Array, rngs: Generators, factor: float) -> Array:
    """m + factor (x - m), m the mean of the channel over the image."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    return (x - mean) * factor + mean


def _affine(x: Array, shifts: Array) -> Array:
    """x under the affine map that takes three points around the centre to points + shifts.

    shifts: (n, 3, 2) pixels, as (x, y). Bilinear, mirrored at the edges; exact where OpenCV before
    version 5 rounds positions to 1/32 pixel.
    """
    n, size = len(x), x.shape[-1]
    points = size // 2 + size // 3 * np.array([[1.0, 1], [1, -1], [-1, -1]])  # (x, y)
    moved = np.concatenate([points + shifts, np.ones((n, 3, 1))], axis=2)
    inverse = np.linalg.solve(moved, np.broadcast_to(points, (n, 3, 2)))  # (x, y, 1) -> (x, y)
    rows, columns = np.indices((size, size), dtype=np.float64)
    grid = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3)
    source = (grid @ inverse).reshape(n, size, size, 2)
    return bilinear(x, source[..., 1], source[..., 0], mirror)


def elastic_transform(x: Array, rngs: Generators, c: tuple[float, float, float]) -> Array:
    """A random affine map, then a random smooth displacement of every pixel."""
    size = x.shape[-1]
    reach, sigma, jitter = (size * share for share in c)

    def field() -> Array:
        noise = draw(rngs, lambda rng: rng.uniform(-1, 1, (size, size)))
        return reach * smooth(noise, sigma, mode="reflect", truncate=3)

    x = _affine(x, draw(rngs, lambda rng: rng.uniform(-jitter, jitter, (3, 2))))
    across, down = field(), field()
    rows, columns = np.indices((size, size))
    return bilinear(x, rows + down, columns + across, reflect)


def _each(x: Array, change: Callable[[Image.Image], Image.Image]) -> Array:
    """`change` applied to every image as 8-bit RGB."""
    pixels = np.rint(x * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
    return changed.transpose(0, 3, 1, 2) / 255


def pixelate(x: Array, rngs: Generators, share: float) -> Array:
    """Resized to int(share size) pixels and back by Pillow's box filter."""
    size = x.shape[-1]
    small = int(size * share)

    def change(image: Image.Image) -> Image.Image:
        box = Image.Resampling.BOX
        return image.resize((small, small), box).resize((size, size), box)

    return _each(x, change)


def jpeg_compression(x: Array, rngs: Generators, quality: int) -> Array:
    """Through Pillow's JPEG encoder at that quality, colour at half resolution."""

    def change(image: Image.Image) -> Image.Image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _each(x, change)
