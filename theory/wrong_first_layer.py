"""What the first layer leaves of a scaled output y_trg = t y_src, exactly, for Gaussian x ~ N(0, I).

Proposition 2's counterexample has t < 0 and v_pre > 0. For v_pre of k_+ positive and k_- negative entries:

- t >= 0: B = t B_pre leaves nothing.
- t < 0: relu(s z) = s relu(z), s > 0, lets a unit's row absorb |v_i|, so only the signs of v_pre bind. A unit
  of one sign can take over a unit of the other: `swap` does so for min(k_+, k_-) pairs, and leaves
  nothing where k_+ = k_-.
- t < 0, k_+ other than k_-: something is left wherever the rows of B_pre are independent: `spectral_bound`.
- t < 0, all of one sign: everything is left, relative loss 1, as in the paper (`propositions.first_layer_bound`).

The relative loss depends on t only through its sign: B -> |t| B maps the target -y_src to t y_src.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy.optimize import lsq_linear

from theory import checks
from theory.adversary import descend
from theory.networks import Array, Network, arc_cosine, relu_loss
from theory.wrong_last_layer import label_power, random_network


class FirstLayer(NamedTuple):
    """B (k, d), its relative loss, and the relative losses that all starts ended in, ascending."""

    B: Array
    loss: float
    losses: Array


def signed_network(rng: Generator, k: int, d: int, positive: int) -> Network:
    """`random_network` with the signs of v replaced: the first `positive` entries are > 0, the rest < 0."""
    net = random_network(rng, k, d)
    if not 0 <= checks.at_least("positive", positive, 0) <= k:
        raise ValueError(f"positive must be an integer from 0 to k = {k}, not {positive}")
    sign = np.where(np.arange(k) < positive, 1.0, -1.0)
    return Network(net.B, sign * np.abs(net.v))


def swap(net: Network, t: float) -> Array:
    """The B (k, d) with which f(x; B, v) makes up the target t f(x; net) as far as signs allow, other rows 0.

    For t >= 0, t B_pre. For t < 0, row i takes |t| |v_j| / |v_i| b_j for a unit j of the other sign, so that
    v_i relu(b_i' x) = t v_j relu(b_j x). Units of large |v_j| |b_j| are taken over first.
    """
    t = float(checks.array("t", t, ndim=0))
    if t >= 0:
        return np.asarray(t * net.B)
    B = np.zeros_like(net.B)
    order = np.argsort(-np.abs(net.v) * np.linalg.norm(net.B, axis=1), kind="stable")
    up, down = order[net.v[order] > 0], order[net.v[order] < 0]
    for i, j in zip(up, down, strict=False):
        B[i] = t * net.v[j] / net.v[i] * net.B[j]
        B[j] = t * net.v[i] / net.v[j] * net.B[i]
    return B


def relative_loss(B: Array, net: Network, t: float) -> float:
    """E (f(x; B, v) - t f(x; net))^2 / E (t f(x; net))^2, x ~ N(0, I), for t other than 0."""
    t = _nonzero(t)
    I = np.eye(net.B.shape[1])  # noqa: E741
    loss = relu_loss(Network(B, net.v), Network(net.B, t * net.v), I)
    return float(loss) / (t**2 * label_power(net, I))


def loss_and_gradient(B: Array, net: Network, t: float) -> tuple[float, Array]:
    """`relative_loss` at B (k, d) and its gradient (k, d).

    With K = `arc_cosine`, angle a between b and c, and c_j, b_j over both networks' units:
    dK(b, c) / db = (|c| sin a b / |b| + (pi - a) c) / (2 pi),   dL / db_i = 2 v_i sum_j c_j dK(b_i, b_j) / db_i.
    """
    rows, c = np.concatenate([B, net.B]), np.concatenate([net.v, -t * net.v])
    length = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(length > 0, length, 1)[:, None]
    k = len(B)
    cos = (unit[:k] @ unit.T).clip(-1, 1)  # (k, 2k)
    angle = np.arccos(cos)
    along = np.sin(angle) @ (c * length)  # (k,)
    gradient = along[:, None] * unit[:k] + ((np.pi - angle) * c) @ rows
    kernel = arc_cosine(rows, np.eye(B.shape[1]))
    power = t**2 * (net.v @ kernel[k:, k:] @ net.v)
    return float(c @ kernel @ c / power), np.asarray(net.v[:, None] * gradient / np.pi / power)


def best_first_layer(net: Network, t: float, restarts: int = 10, seed: int = 0) -> FirstLayer:
    """The smallest `relative_loss` that L-BFGS finds: an upper bound on the minimum over B.

    Starts: `swap` with its rows of 0 made small and random, and `restarts` draws with the entries' root mean
    square of |t| B_pre, times 2^u with u uniform on [-2, 2].
    """
    t = _nonzero(t)
    checks.at_least("restarts", restarts, 0)
    rng = np.random.default_rng(checks.at_least("seed", seed, 0))
    noise = abs(t) * np.sqrt((net.B**2).mean()) * rng.standard_normal((restarts + 1, *net.B.shape))
    swapped = swap(net, t)
    first = np.where(swapped.any(axis=1, keepdims=True), swapped, 1e-2 * noise[0])
    scales = 2 ** rng.uniform(-2, 2, (restarts, 1, 1))

    def objective(point: Array) -> tuple[float, Array]:
        value, gradient = loss_and_gradient(point.reshape(net.B.shape), net, t)
        return value, gradient.ravel()

    point, losses = descend(objective, [first, *(scales * noise[1:])])
    candidates = (swapped, point.reshape(net.B.shape))
    B = min(candidates, key=lambda candidate: relative_loss(candidate, net, t))
    return FirstLayer(B, relative_loss(B, net, t), np.maximum(losses, 0))


def lower_bound(net: Network, t: float) -> float:
    """What `relative_loss` is at least, for every B: 1 if t < 0 and v has one sign, else `spectral_bound`."""
    one_sign = (net.v >= 0).all() or (net.v <= 0).all()
    return 1.0 if _nonzero(t) < 0 and one_sign else spectral_bound(net, t)


def spectral_bound(net: Network, t: float) -> float:
    """A number that `relative_loss` is at least, for every B (k, d).

    Proof. Let M = sum_i v_i b_i b_i^T / |b_i|, and M' that of the target: D = M - M'. By Hermite expansion the
    parts of degree 0 and 2 of f(x; B, v) - target are tr D / sqrt(2 pi) and
    (x^T D x - tr D) / (2 sqrt(2 pi)); they are uncorrelated with each other and with the rest, so

        L >= |D|_F^2 / (4 pi) + (tr D)^2 / (2 pi).

    M has at most k_+ positive and k_- negative eigenvalues, whatever B (Sylvester). For given eigenvalues of M
    the right side is smallest where M and M' share eigenvectors, in the same order (von Neumann), so it
    is at least its minimum over diagonal M with entries <= 0 past the k_+ largest of M', and >= 0 past
    the k_- smallest: a convex problem in d numbers. The bound is positive if t < 0, k_+ differs from k_-, and
    the rows of B_pre are independent (which needs d >= k).
    """
    t = _nonzero(t)
    length = np.linalg.norm(net.B, axis=1)
    rows = net.B / np.sqrt(np.where(length > 0, length, 1))[:, None]
    target = np.linalg.eigvalsh(t * (net.v * rows.T) @ rows)[::-1]  # descending (d,)
    d, rank = len(target), np.arange(len(target))
    high = np.where(rank < (net.v > 0).sum(), np.inf, 0)
    low = np.where(rank >= d - (net.v < 0).sum(), -np.inf, 0)
    free = high > low
    rows = np.concatenate([np.eye(d) / np.sqrt(4 * np.pi), np.ones((1, d)) / np.sqrt(2 * np.pi)])
    rest = rows @ target
    if free.any():
        fit = lsq_linear(rows[:, free], rest, (low[free], high[free]), method="bvls", tol=1e-14)
        rest = rest - rows[:, free] @ fit.x
    return float(rest @ rest / (t**2 * label_power(net, np.eye(d))))


def by_share(
    k: int, d: int, seeds: Sequence[int], restarts: int = 10, t: float = -1.0
) -> pd.DataFrame:
    """What the first layer leaves for 0, ..., k positive entries of v_pre: a row per number and seed.

    `bound` <= minimum <= `best` <= `swap`, all relative to E y_trg^2; |v_pre| and B_pre depend on the seed only.
    """
    rows = []
    for positive in range(checks.at_least("k", k, 1) + 1):
        for seed in seeds:
            net = signed_network(np.random.default_rng([seed, k, d]), k, d, positive)
            rows.append(
                {
                    "positive": positive,
                    "share": positive / k,
                    "k": k,
                    "d": d,
                    "t": t,
                    "seed": seed,
                    "bound": lower_bound(net, t),
                    "best": best_first_layer(net, t, restarts, seed).loss,
                    "swap": relative_loss(swap(net, t), net, t),
                    "restarts": restarts,
                }
            )
    return pd.DataFrame(rows)


def _nonzero(t: float) -> float:
    value = float(checks.array("t", t, ndim=0))
    if value == 0:
        raise ValueError("t must not be 0: E y_trg^2 is then 0, and no loss is relative to it")
    return value
