"""What the last layer leaves of a shifted input x_trg = A x_src, exactly, for Gaussian x_src ~ N(0, Sigma).

Proposition 1 says that it may leave something. How much follows without simulation: with F = relu(B_pre A x)
and y = v_pre^T relu(B_pre x), the rows of [B_pre A; B_pre] have the arc-cosine kernel

    K = [[G, C], [C^T, H]],   G = E F F^T,   C v_pre = E F y,   v_pre^T H v_pre = E y^2

so the best last layer is G^-1 C v_pre, and its loss v_pre^T (H - C^T G^-1 C) v_pre. Losses are relative: 1 is
the network that is 0 everywhere.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator

from theory import checks
from theory.linear_shifts import blur, blur_condition, pixel_covariance, stretch, turn_and_stretch
from theory.networks import Array, Network, arc_cosine, quadratic_form, relu_loss

RANDOM_SHIFTS: dict[str, Callable[[Generator, int, float], Array]] = {
    "stretch": stretch,
    "turn and stretch": turn_and_stretch,
}


class Losses(NamedTuple):
    """Target loss / E y^2 of the network as it was, and after the best tuning of one layer."""

    untuned: float
    last_layer: float
    first_layer: float


def random_network(rng: Generator, k: int, d: int) -> Network:
    """B_ij ~ N(0, 1/d) and v_i ~ N(0, 1/k), independent."""
    checks.at_least("k", k, 1)
    checks.at_least("d", d, 1)
    return Network(rng.standard_normal((k, d)) / np.sqrt(d), rng.standard_normal(k) / np.sqrt(k))


def best_last_layer(net: Network, A: Array, Sigma: Array | None = None) -> Array:
    """argmin_v E (v^T relu(B A x) - f(x; net))^2 for x ~ N(0, Sigma), I if not given -> v (k,).

    Normal equations, scaled to unit diagonal; of several minima, that of smallest norm in this scale.
    """
    A, Sigma = _checked(net, A, Sigma)
    k = len(net.v)
    K = arc_cosine(np.concatenate([net.B @ A, net.B]), Sigma)
    G, Fy = K[:k, :k], K[:k, k:] @ net.v
    length = np.sqrt(np.diagonal(G))
    scale = np.where(length > 0, length, 1)
    v: Array = np.linalg.lstsq(G / scale / scale[:, None], Fy / scale, rcond=None)[0] / scale
    return v


def relative_losses(net: Network, A: Array, Sigma: Array | None = None) -> Losses:
    """The three losses on x_trg = A x_src, relative to E y^2; the first layer is B A^-1, in float64.

    Raises ValueError for shapes that do not fit, for a singular A, and for a network that is 0 everywhere.
    """
    A, Sigma = _checked(net, A, Sigma)
    power = label_power(net, Sigma)
    if not power > 0:
        raise ValueError(f"net must not be 0 everywhere, but E y^2 is {power}")
    try:
        undone = np.linalg.solve(A.T, net.B.T).T
    except np.linalg.LinAlgError as error:
        raise ValueError(f"A must be invertible, not\n{A}") from error
    tuned = (net, Network(net.B, best_last_layer(net, A, Sigma)), Network(undone, net.v))
    # f(A x; B, v) = f(x; B A, v)
    return Losses(*(float(relu_loss(Network(B @ A, v), net, Sigma)) / power for B, v in tuned))


def label_power(net: Network, Sigma: Array) -> float:
    """E f(x)^2 for x ~ N(0, Sigma)."""
    return float(quadratic_form(net.v, arc_cosine(net.B, Sigma)))


def by_condition(
    conditions: Sequence[float], widths: Sequence[int], d: int, seeds: Sequence[int]
) -> pd.DataFrame:
    """`relative_losses` for x ~ N(0, I_d): a row per shift of RANDOM_SHIFTS, k, condition and seed.

    A seed is a network and the random directions of A, the same for every condition.
    """
    rows = []
    for shift, k, seed in _product(RANDOM_SHIFTS, widths, seeds):
        for condition in conditions:
            rng = np.random.default_rng([seed, k, d])
            net = random_network(rng, k, d)
            losses = relative_losses(net, RANDOM_SHIFTS[shift](rng, d, condition))
            about = {"shift": shift, "k": k, "d": d, "condition": condition, "seed": seed}
            rows.append(about | losses._asdict())
    return pd.DataFrame(rows)


def by_blur(
    sigmas: Sequence[float],
    rhos: Sequence[float],
    k: int,
    h: int,
    seeds: Sequence[int],
    boundary: str = "reflect",
) -> pd.DataFrame:
    """`relative_losses` for Gaussian blur of h x h patches: a row per rho, sigma and seed.

    Pixels are N(0, `pixel_covariance(h, rho)`). `condition` is that of the blur, from its closed form where
    the boundary reflects.
    """
    rows = []
    for rho, sigma, seed in _product(rhos, sigmas, seeds):
        net = random_network(np.random.default_rng([seed, k, h]), k, h * h)
        A = blur(sigma, h, boundary)
        losses = relative_losses(net, A, pixel_covariance(h, rho))
        closed = boundary == "reflect"
        condition = blur_condition(sigma, h) if closed else float(np.linalg.cond(A))
        about = {"rho": rho, "sigma": sigma, "condition": condition, "k": k, "h": h, "seed": seed}
        rows.append(about | losses._asdict())
    return pd.DataFrame(rows)


def named_shifts(shifts: dict[str, Array], k: int, seeds: Sequence[int]) -> pd.DataFrame:
    """`relative_losses` for given A, x ~ N(0, I): a row per name and seed."""
    rows = []
    for (name, A), seed in _product(shifts.items(), seeds):
        net = random_network(np.random.default_rng([seed, k, len(A)]), k, len(A))
        condition = float(np.linalg.cond(A))
        about = {"shift": name, "condition": condition, "k": k, "d": len(A), "seed": seed}
        rows.append(about | relative_losses(net, A)._asdict())
    return pd.DataFrame(rows)


def over_seeds(frame: pd.DataFrame, values: Sequence[str] = Losses._fields) -> pd.DataFrame:
    """The median, lowest and highest of every one of `values` over seeds, and the number n of seeds."""
    by = [name for name in frame if name not in (*values, "seed")]
    groups = frame.groupby(by, sort=False)
    parts = [groups[[*values]].agg(how).add_suffix(f"_{how}") for how in ("median", "min", "max")]
    return pd.concat([groups.size().rename("n"), *parts], axis=1).reset_index()


def _product(*lists: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Every combination; ValueError where there is none."""
    made = [list(values) for values in lists]
    if not all(made):
        raise ValueError(f"every list needs an entry, but their lengths are {list(map(len, made))}")
    return list(itertools.product(*made))


def _checked(net: Network, A: Array, Sigma: Array | None) -> tuple[Array, Array]:
    k, d = checks.array("B", net.B, ndim=2).shape
    checks.shape("v", checks.array("v", net.v, ndim=1), (k,))
    A = checks.array("A", A, ndim=2)
    Sigma = checks.array("Sigma", np.eye(d) if Sigma is None else Sigma, ndim=2)
    checks.shape("A", A, (d, d))
    checks.shape("Sigma", Sigma, (d, d))
    return A, Sigma
