"""Gaussian, shot, impulse and speckle noise: x (n, 3, h, w) in [0, 1] -> same shape, unclipped.

Source: Hendrycks & Dietterich (2019), appendix B. Every value of every channel is hit on its own.
"""

import numpy as np

from surgicalft.shifts.corruptions.batch import Array, Generators, draw


def gaussian_noise(x: Array, rngs: Generators, sigma: float) -> Array:
    """x + sigma ε, ε standard normal: a sensor in low light."""
    return x + sigma * draw(rngs, lambda rng: rng.standard_normal(x.shape[1:]))


def shot_noise(x: Array, rngs: Generators, photons: float) -> Array:
    """Poisson(photons x) / photons: light comes in discrete amounts."""
    counts = [rng.poisson(image * photons) for image, rng in zip(x, rngs, strict=True)]
    return np.stack(counts) / photons


def impulse_noise(x: Array, rngs: Generators, amount: float) -> Array:
    """A share `amount` of the values becomes 0 or 1 with equal odds: bit errors."""
    hit = draw(rngs, lambda rng: rng.random(x.shape[1:]))
    return np.where(hit < amount, (hit >= amount / 2).astype(np.float64), x)


def speckle_noise(x: Array, rngs: Generators, sigma: float) -> Array:
    """x + x sigma ε, ε standard normal: noise in proportion to the value."""
    return x + x * sigma * draw(rngs, lambda rng: rng.standard_normal(x.shape[1:]))
