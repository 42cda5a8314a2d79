"""Image operations on a whole batch, float64 (n, ..., h, w), that several corruptions share."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Generators = Sequence[np.random.Generator]

NEGLIGIBLE = 1e-7  # of the kernel's mass: far below one grey level


def draw(rngs: Generators, one: Callable[[np.random.Generator], Array]) -> Array:
    """`one(rng)` for each image's own generator, stacked: (n, ...)."""
    return np.stack([one(rng) for rng in rngs])


def smooth(x: Array, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> Array:
    """Gaussian blur of the last two axes; the defaults are those of scikit-image's `gaussian`."""
    sigmas = (0.0,) * (x.ndim - 2) + (sigma, sigma)
    return ndimage.gaussian_filter(x, sigmas, mode=mode, truncate=truncate)


def zoom_matrix(size: int, factor: float) -> Array:
    """Z (size, size) such that Z x Zᵀ magnifies the centre of x by `factor` >= 1, linearly.

    The centre, ceil(size / factor) pixels wide, is stretched so that its corners stay corners, and
    what exceeds `size` is trimmed.
    """
    width = int(np.ceil(size / factor))
    top = (size - width) // 2
    stretched = ndimage.zoom(np.eye(size)[top : top + width], (factor, 1), order=1)
    trim = (len(stretched) - size) // 2
    return stretched[trim : trim + size]


def gather(x: Array, rows: Integers, columns: Integers) -> Array:
    """x (n, c, h, w) read at rows, columns (n, h, w), all within the image: (n, c, h, w)."""
    n, channels, _, width = x.shape
    index = (rows * width + columns).reshape(n, 1, -1)
    return np.take_along_axis(x.reshape(n, channels, -1), index, axis=2).reshape(x.shape)


def streak(x: Array, radius: float, sigma: float, degrees: Array) -> Array:
    """ImageMagick's motion blur of x (n, c, h, w) along degrees (n,): a one-sided Gaussian tail.

    out(p) = Σ_i k_i x(p + round(i (cos a, sin a))), k_i ∝ exp(-i² / 2σ²), i = 0 .. 2 ceil(radius),
    with halves in the position rounded down, edge pixels repeated outside and the result rounded
    to 8 bits.
    """
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    kernel = np.exp(-(steps**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    angle = np.deg2rad(degrees)[:, None, None]
    rows, columns = np.indices(x.shape[-2:])
    bottom, right = x.shape[-2] - 1, x.shape[-1] - 1
    out = np.zeros_like(x)
    for step, weight in zip(steps, kernel, strict=True):
        if weight > NEGLIGIBLE:
            down = np.ceil(step * np.sin(angle) - 0.5).astype(np.int64)
            across = np.ceil(step * np.cos(angle) - 0.5).astype(np.int64)
            shifted = np.clip(rows + down, 0, bottom), np.clip(columns + across, 0, right)
            out += weight * gather(x, *shifted)
    return np.rint(out * 255) / 255


def mirror(index: Integers, size: int) -> Integers:
    """Indices folded back at the centres of the edge pixels: c b | a b c | b a."""
    index = np.abs(index) % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)


def reflect(index: Integers, size: int) -> Integers:
    """Indices folded back at the outer sides of the edge pixels: b a | a b c | c b."""
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def bilinear(
    x: Array, rows: Array, columns: Array, fold: Callable[[Integers, int], Integers]
) -> Array:
    """x (n, c, h, w) at the real coordinates rows, columns (n, h, w), `fold`ed at the edges."""
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, across = (rows - top)[:, None], (columns - left)[:, None]  # (n, 1, h, w)
    height, width = x.shape[-2:]
    out = np.zeros_like(x)
    for i, vertical in ((0, 1 - down), (1, down)):
        for j, horizontal in ((0, 1 - across), (1, across)):
            corner = gather(x, fold(top + i, height), fold(left + j, width))
            out += vertical * horizontal * corner
    return out
