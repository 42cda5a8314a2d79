"""Defocus, glass, motion, zoom and Gaussian blur: x float64 (n, 3, h, w) in [0, 1] -> same shape.

Source: Hendrycks & Dietterich (2019), appendix B; the filters of OpenCV, scikit-image and
ImageMagick that the published code calls are rebuilt on SciPy, with their border rules.
"""

import numpy as np
from scipy import ndimage, sparse

from surgicalft.shifts.corruptions.batch import (
    Array,
    Generators,
    draw,
    gather,
    smooth,
    streak,
    zoom_matrix,
)


def disk(radius: float, sigma: float) -> Array:
    """A disk of that radius, of mass 1, smoothed by a 3x3 Gaussian: odd side, just large enough."""
    reach = int(radius) + 1
    rows, columns = np.indices((2 * reach + 1, 2 * reach + 1)) - reach
    inside = (rows**2 + columns**2 <= radius**2).astype(np.float64)
    tap = np.exp(-1 / (2 * sigma**2))
    line = np.array([tap, 1, tap]) / (1 + 2 * tap)
    return ndimage.correlate(inside / inside.sum(), np.outer(line, line), mode="constant")


def defocus_blur(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """x * disk(radius, sigma), mirrored at the edges: a lens out of focus."""
    return ndimage.correlate(x, disk(*c)[None, None], mode="mirror")


def _frosted(x: Array, rngs: Generators, reach: int) -> Array:
    """Each pixel but those near the edge becomes one at most `reach` up and left of it."""
    size = x.shape[-1]
    moved = slice(reach + 1, size - reach + 1)
    shape = (2, size - 2 * reach, size - 2 * reach)
    source = np.tile(np.indices((size, size)), (len(x), 1, 1, 1))  # (n, 2, h, w)
    source[..., moved, moved] += np.stack([rng.integers(-reach, reach, shape) for rng in rngs])
    return gather(x, source[:, 0], source[:, 1])


def glass_blur(x: Array, rngs: Generators, c: tuple[float, int, int]) -> Array:
    """Blur, displace pixels at random, blur again: a view through frosted glass.

    The published code means to swap neighbours, but its NumPy views make that a copy, and a pass
    only reads pixels that it has not written yet; displacements are drawn from [-reach, reach).
    Both are kept, being what the published images show. That a pass is one gather holds for the
    published reach, 1, alone.
    """
    sigma, reach, passes = c
    x = np.floor(smooth(x, sigma) * 255 + 1e-4) / 255
    for _ in range(passes):
        x = _frosted(x, rngs, reach)
    return smooth(x, sigma)


def motion_blur(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """A streak at an angle drawn from (-45°, 45°): the camera moves."""
    return streak(x, *c, draw(rngs, lambda rng: np.asarray(rng.uniform(-45, 45))))


def zoom_blur(x: Array, rngs: Generators, stop: float) -> Array:
    """The mean of x and its magnifications by 1, 1.01, ..., stop: moving towards the object."""
    factors = np.arange(1, stop, 0.01)
    matrices = (sparse.csr_array(zoom_matrix(x.shape[-1], factor)) for factor in factors)
    total = sum(sparse.kron(z, z, format="csr") for z in matrices)  # (h w, h w)
    zoomed = (total @ x.reshape(-1, x.shape[-1] ** 2).T).T.reshape(x.shape)
    return (x + zoomed) / (len(factors) + 1)


def gaussian_blur(x: Array, rngs: Generators, sigma: float) -> Array:
    """x convolved with a Gaussian, edge pixels repeated."""
    return smooth(x, sigma)
