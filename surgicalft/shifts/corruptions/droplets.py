"""Spatter: drops of water (severities 1 to 3) or mud (4 and 5) on the lens.

Source: Hendrycks & Dietterich (2019), appendix B. The OpenCV steps of the published code (Canny
edges, 5x5 chamfer distance, histogram equalisation, 8-bit filters) are rebuilt below for a batch of
images (n, h, w).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from surgicalft.shifts.corruptions.batch import Array, Generators, Integers, draw, smooth

WATER = np.array([175, 238, 238])[:, None, None] / 255  # pale turquoise
MUD = np.array([63, 42, 20])[:, None, None] / 255
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])[None]
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None]
SOBEL_Y = SOBEL_X.swapaxes(1, 2)
WEAK, STRONG = 50, 150  # Canny's thresholds on |dx| + |dy|
FAR = 20  # pixels, where the distance is cut off
# The 5x5 chamfer steps of Borgefors (1986), half of them: the rest are their negatives.
CHAMFER = {
    (0, 1): 1.0,
    (1, 0): 1.0,
    (1, 1): 1.4,
    (1, -1): 1.4,
    (1, 2): 2.1969,
    (2, 1): 2.1969,
    (1, -2): 2.1969,
    (2, -1): 2.1969,
}

Mask = NDArray[np.bool_]


def _shifted(x: Array, down: int, across: int, fill: float) -> Array:
    """x (n, h, w) read `down` rows below and `across` columns to the right, `fill` outside."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)), constant_values=fill)
    return padded[:, 2 + down : 2 + down + height, 2 + across : 2 + across + width]


def edges(layer: Integers) -> Mask:
    """Canny's edges of 8-bit images (n, h, w): thin ridges of the gradient, linked to strong ones.

    A ridge is larger than its neighbours across the edge; along a row or column the later neighbour
    may tie, as in OpenCV.
    """
    dx, dy = (ndimage.correlate(layer, sobel, mode="nearest") for sobel in (SOBEL_X, SOBEL_Y))
    size = (np.abs(dx) + np.abs(dy)).astype(np.float64)
    steep, flat = np.tan(np.pi * 3 / 8), np.tan(np.pi / 8)

    def ridge(down: int, across: int, ties: bool) -> Mask:
        before, after = _shifted(size, -down, -across, 0), _shifted(size, down, across, 0)
        return (size > before) & ((size >= after) if ties else (size > after))

    horizontal = np.abs(dy) < flat * np.abs(dx)
    vertical = np.abs(dy) > steep * np.abs(dx)
    falling = (dx < 0) == (dy < 0)
    diagonal = np.where(falling, ridge(1, 1, False), ridge(1, -1, False))
    thin = np.where(horizontal, ridge(0, 1, True), np.where(vertical, ridge(1, 0, True), diagonal))
    within_image = np.ones((1, 3, 3), bool)
    return ndimage.binary_propagation(
        thin & (size > STRONG), structure=within_image, mask=thin & (size > WEAK)
    )


def distance(targets: Mask) -> Array:
    """Chamfer distance (n, h, w) to the nearest target pixel of the image, at most `FAR`."""
    d = np.where(targets, 0.0, FAR)
    while True:
        before = d
        for (down, across), cost in CHAMFER.items():
            d = np.minimum(d, _shifted(d, down, across, FAR) + cost)
            d = np.minimum(d, _shifted(d, -down, -across, FAR) + cost)
        if np.array_equal(d, before):
            return d


def equalise(x: Integers) -> Integers:
    """Each image's grey levels spread by their cumulative histogram, the lowest going to 0."""
    n, levels = len(x), int(x.max()) + 1
    index = x + levels * np.arange(n)[:, None, None]
    counts = np.bincount(index.ravel(), minlength=n * levels).reshape(n, levels)
    lowest = x.min(axis=(1, 2))
    first = counts[np.arange(n), lowest][:, None]
    total = counts.sum(axis=1, keepdims=True)
    table = np.rint((counts.cumsum(axis=1) - first) * 255 / np.maximum(total - first, 1))
    table = np.where(first == total, lowest[:, None], table)  # a constant image stays
    return table.ravel()[index].astype(np.int64)


def relief(layer: Integers) -> Array:
    """What makes drops look round: the distance to the rim, equalised and lit from one side."""
    d = np.floor(ndimage.uniform_filter(distance(edges(layer)), (0, 3, 3), mode="mirror") + 1e-4)
    d = equalise(d.astype(np.int64))
    d = np.clip(ndimage.correlate(d, EMBOSS, mode="mirror"), 0, 255)
    box = np.ones((1, 3, 3), np.int64)
    return np.rint(ndimage.correlate(d, box, mode="mirror") / 9)


def _water(x: Array, liquid: Array, strength: float) -> Array:
    """x + strength r colour, r the drops' relief scaled to at most 1; no drops, no change."""
    layer = np.floor(liquid * 255).astype(np.int64) % 256  # the published cast to 8 bits wraps
    mask = layer * relief(layer)
    mask /= np.maximum(mask.max(axis=(1, 2), keepdims=True), 1)
    return x + strength * mask[:, None] * WATER


def _mud(x: Array, liquid: Array, sigma: float) -> Array:
    """Opaque where the smoothed drops are at least 0.8, clear elsewhere."""
    mask = smooth((liquid > 0).astype(np.float64), sigma)[:, None]
    mask = np.where(mask < 0.8, 0, mask)
    return x * (1 - mask) + mask * MUD


def spatter(x: Array, rngs: Generators, c: tuple[float, float, float, float, float, bool]) -> Array:
    """Drops where smoothed normal noise passes a threshold, as water or as mud."""
    mean, deviation, sigma, threshold, last, is_mud = c
    liquid = smooth(draw(rngs, lambda rng: rng.normal(mean, deviation, x.shape[2:])), sigma)
    liquid = np.where(liquid < threshold, 0, liquid)
    return (_mud if is_mud else _water)(x, liquid, last)
