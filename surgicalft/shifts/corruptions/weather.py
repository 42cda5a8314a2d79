"""Snow, fog and frost: x float64 (n, 3, h, w) in [0, 1] -> same shape, unclipped.

Source: Hendrycks & Dietterich (2019), appendix B. Frost is drawn, not photographed: see `ice`.
"""

import numpy as np

from surgicalft.shifts.corruptions.batch import Array, Generators, draw, streak, zoom_matrix
from surgicalft.shifts.corruptions.ice import ice

LUMA = np.array([0.299, 0.587, 0.114])[:, None, None]  # of ITU-R BT.601


def snow(x: Array, rngs: Generators, c: tuple[float, ...]) -> Array:
    """The image whitened, plus blurred flakes and the same flakes turned by 180°.

    x <- w x + (1 - w) max(x, 1.5 grey + 0.5); flakes are normal noise, magnified, thresholded and
    streaked at an angle drawn from (-135°, -45°).
    """
    mean, deviation, zoom, threshold, radius, sigma, weight = c
    size = x.shape[-1]
    noise = draw(rngs, lambda rng: rng.normal(mean, deviation, (size, size)))
    z = zoom_matrix(size, zoom)
    flakes = z @ noise @ z.T
    flakes = np.floor(np.clip(np.where(flakes < threshold, 0, flakes), 0, 1) * 255) / 255
    angles = draw(rngs, lambda rng: np.asarray(rng.uniform(-135, -45)))
    flakes = streak(flakes[:, None], radius, sigma, angles)
    grey = (x * LUMA).sum(axis=1, keepdims=True)
    x = weight * x + (1 - weight) * np.maximum(x, 1.5 * grey + 0.5)
    return x + flakes + flakes[..., ::-1, ::-1]


def _refine(heights: Array, step: int, noise: Array) -> None:
    """One diamond-square step in place: grid points `step` apart are known, then half that.

    The centre of each square, then of each diamond, becomes the mean of its corners plus noise
    (n, 3, m, m), m = size / step; the map is periodic.
    """
    half = step // 2
    corners = heights[:, ::step, ::step]
    pairs = corners + np.roll(corners, -1, axis=1)
    centres = (pairs + np.roll(pairs, -1, axis=2)) / 4 + noise[:, 0]
    for axis, other, wobble in ((1, 2, noise[:, 1]), (2, 1, noise[:, 2])):
        diamond = centres + np.roll(centres, 1, axis) + corners + np.roll(corners, -1, other)
        target = heights[:, ::step, half::step] if axis == 1 else heights[:, half::step, ::step]
        target[:] = diamond / 4 + wobble
    heights[:, half::step, half::step] = centres


def height_map(rngs: Generators, size: int, decay: float) -> Array:
    """Diamond-square height maps (n, size, size) in [0, 1]; `size` is a power of two.

    The noise at each scale is w² u, u uniform in (-1, 1): w starts at 100 and is divided by `decay`
    from scale to scale. (The square is the published code's, which draws from (-w, w) and
    multiplies by w.)
    """
    uniform = draw(rngs, lambda rng: rng.uniform(-1, 1, size * size - 1))
    heights = np.zeros((len(rngs), size, size))
    step, used, wobble = size, 0, 100.0
    while step >= 2:
        side = size // step
        noise = uniform[:, used : used + 3 * side**2].reshape(-1, 3, side, side)
        _refine(heights, step, wobble**2 * noise)
        step, used, wobble = step // 2, used + 3 * side**2, wobble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)


def fog(x: Array, rngs: Generators, c: tuple[float, float]) -> Array:
    """(x + t f) M / (M + t), f a height map, t its thickness, M the image's largest value."""
    thickness, decay = c
    size = x.shape[-1]
    power = 1 << (size - 1).bit_length()
    layer = height_map(rngs, power, decay)[:, None, :size, :size]
    largest = x.max(axis=(1, 2, 3), keepdims=True)
    return (x + thickness * layer) * largest / (largest + thickness)


def frost(x: Array, rngs: Generators, c: tuple[float, float, float]) -> Array:
    """a x + b ice, with ice drawn by `ice` where the published code crops photographs of frost."""
    return c[0] * x + c[1] * ice(rngs, x.shape[-1], scale=c[2])
