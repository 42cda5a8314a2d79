"""Defocus, glass, motion, zoom and Gaussian blur: x float64 (n, 3, h, w) in [0, 1] -> same shape.

Source: Hendrycks & Dietterich (2019), appendix B; the filters of OpenCV, scikit-image and
ImageMagick that the published code calls are rebuilt on SciPy, with their border rules.
"""

from functools import lru_cache

import numpy as np
from scipy import ndimage, signal, sparse

from surgicalft.shifts.corruptions.batch import (
    Array,
    Generators,
    Integers,
    draw,
    gather,
    smooth,
    streak,
    zoom_matrix,
)

DIRECT = 49  # weights: a larger kernel is applied through its Fourier transform


def disk(radius: float, sigma: float) -> Array:
    """A disk of that radius, of mass 1, smoothed by a Gaussian of 3x3 taps, or 5x5 above radius 8.

    Both live on a grid of side 17, or 2 radius + 1 above that, and the smoothing mirrors at its
    edges; the sides are trimmed to what is not 0.
    """
    reach, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    rows, columns = np.indices((2 * reach + 1, 2 * reach + 1)) - reach
    inside = (rows**2 + columns**2 <= radius**2).astype(np.float64)
    side = np.exp(-(np.arange(1, taps + 1) ** 2) / (2 * sigma**2))
    line = np.concatenate([side[::-1], [1], side]) / (1 + 2 * side.sum())
    kernel = ndimage.correlate(inside / inside.sum(), np.outer(line, line), mode="mirror")
    margin = max(reach - int(radius) - taps, 0)
    return kernel[margin : len(kernel) - margin, margin : len(kernel) - margin]


def defocus_blur(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """x * disk(radius, sigma), mirrored at the edges: a lens out of focus."""
    kernel = disk(*c)[None, None]
    reach = kernel.shape[-1] // 2
    if kernel.size <= DIRECT or reach >= x.shape[-1]:
        return ndimage.correlate(x, kernel, mode="mirror")
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    return signal.oaconvolve(padded, kernel, mode="valid", axes=(2, 3))  # the disk is symmetric


def _frosted(x: Array, rngs: Generators, reach: int) -> Array:
    """Each pixel but those near the edge becomes one that is at most `reach` pixels away.

    From the last pixel to the first, each becomes one drawn from [-reach, reach) around it, as it
    then is: a source that was itself replaced before is followed to where its value came from.
    """
    size = x.shape[-1]
    moved = slice(reach + 1, max(size - reach, reach) + 1)
    side = moved.stop - moved.start
    source = np.tile(np.indices((size, size)), (len(x), 1, 1, 1))  # (n, 2, h, w)
    shifts = [rng.integers(-reach, reach, (2, side, side)) for rng in rngs]
    source[..., moved, moved] += np.stack(shifts)
    return gather(x, *_followed(source, moved))


def _followed(source: Integers, moved: slice) -> tuple[Integers, Integers]:
    """Rows and columns (n, h, w) of each pixel's value, by doubling the steps from pixel to source."""
    n, _, size, _ = source.shape
    flat = (source[:, 0] * size + source[:, 1]).reshape(n, -1)
    inside = np.zeros((size, size), bool)
    inside[moved, moved] = True
    later = (flat > np.arange(size * size)) & inside.ravel()[flat]  # is replaced before it is read
    while later.any():
        onward = np.take_along_axis(flat, flat, axis=1)
        still = np.take_along_axis(later, flat, axis=1)
        flat, later = np.where(later, onward, flat), later & still
    rows, columns = np.divmod(flat.reshape(n, size, size), size)
    return rows, columns


def glass_blur(x: Array, rngs: Generators, c: tuple[float, int, int]) -> Array:
    """Blur, displace pixels at random, blur again: a view through frosted glass.

    The published code means to swap neighbours, but its NumPy views make that a copy; displacements
    are drawn from [-reach, reach). Both are kept, being what the published images show.
    """
    sigma, reach, passes = c
    x = np.floor(smooth(x, sigma) * 255 + 1e-4) / 255
    for _ in range(passes):
        x = _frosted(x, rngs, reach)
    return smooth(x, sigma)


def motion_blur(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """A streak at an angle drawn from (-45°, 45°): the camera moves."""
    return streak(x, *c, draw(rngs, lambda rng: np.asarray(rng.uniform(-45, 45))))


def zoom_blur(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """The mean of x and its magnifications by arange(1, stop, step): moving towards the object."""
    total, count = _zooms(x.shape[-1], *c)
    zoomed = (total @ x.reshape(-1, x.shape[-1] ** 2).T).T.reshape(x.shape)
    return (x + zoomed) / (count + 1)


@lru_cache(maxsize=1)
def _zooms(size: int, stop: float, step: float) -> tuple[sparse.csr_array, int]:
    """The sum of all magnifications as one matrix (h w, h w), and how many they are."""
    factors = np.arange(1, stop, step)
    matrices = (sparse.csr_array(zoom_matrix(size, factor)) for factor in factors)
    return sum(sparse.kron(z, z, format="csr") for z in matrices), len(factors)


def gaussian_blur(x: Array, rngs: Generators, sigma: float) -> Array:
    """x convolved with a Gaussian, edge pixels repeated."""
    return smooth(x, sigma)
