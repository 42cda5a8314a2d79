"""Random networks and data whose limits are well conditioned, and distances between networks."""

from typing import NamedTuple

import numpy as np

from theory.networks import Network, predict


class Instance(NamedTuple):
    net: Network
    x: np.ndarray
    y: np.ndarray


def instance(seed=0, trials=3, n=4, d=5, k=1, phi="linear", noise=0.0, spread=2.0) -> Instance:
    """Labels of a teacher plus noise; all nonzero singular values of x lie in [1, spread]."""
    rng = np.random.default_rng(seed)
    net, teacher = (
        Network(0.7 * rng.standard_normal((trials, k, d)), rng.standard_normal((trials, k)))
        for _ in range(2)
    )
    U, s, Q = np.linalg.svd(rng.standard_normal((trials, n, d)), full_matrices=False)
    x = (U * rng.uniform(1, spread, s.shape)[:, None, :]) @ Q
    y = predict(teacher, x, phi)
    return Instance(net, x, y + noise * rng.standard_normal(y.shape))


def flat(net: Network) -> np.ndarray:
    """B's entries and then v's (trials, k (d + 1))."""
    B, v = np.asarray(net.B), np.asarray(net.v)
    return np.concatenate([B.reshape(*B.shape[:-2], -1), v], axis=-1)


def distance(net: Network, other: Network) -> float:
    """Largest distance of two networks in any trial, relative to the second's size."""
    difference = np.linalg.norm(flat(net) - flat(other), axis=-1)
    return float((difference / np.linalg.norm(flat(other), axis=-1)).max())
