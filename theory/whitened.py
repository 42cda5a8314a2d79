"""Full tuning on whitened inputs, X^T X = c P_T, k = 1: the whole path in closed form.

With q = (P_T b, v), tau = 2 c t and the symmetric matrix F = [[-a/2, w_T], [w_T^T, a/2]], a = v^2 - |P_T b|^2,

    dq/dtau = F q - |q|^2 q / 2   =>   q(tau) = e^{F tau} q_0 / sqrt(1 + int_0^tau |e^{F s} q_0|^2 ds),

since |P_T b|^2 = (|q|^2 - a) / 2 and v^2 = (|q|^2 + a) / 2 turn the two flows into one that is linear but for a
factor. F has the eigenvalues +-lambda, lambda = sqrt(a^2/4 + |w_T|^2), in the plane of w_T and v, and -a/2 on the
rest of T. So q ends in F's top eigenvector, on the side where it started: the limit of `theory.exact` with its
sign. Source: the reduction to a linear flow is that of matrix Riccati equations, Fukumizu, "Effect of batch
learning in multilayer neural networks" (1998), here for unbalanced layers and k = 1.
"""

import numpy as np

from theory.exact import check_data, fit
from theory.networks import Array, Network
from theory.signs import is_whitened


def whitened_path(net: Network, x: Array, y: Array, times: Array) -> Network:
    """B (..., times, 1, d) and v (..., times, 1) of the flow of both layers at `times`.

    Raises ValueError for k > 1 and for inputs that are not whitened.
    """
    net, x, y = check_data(net, x, y)
    if net.v.shape[-1] != 1 or not is_whitened(x).all():
        raise ValueError("a path in closed form needs k = 1 and inputs with X^T X = c P_T")
    data = fit(x, y)
    c = (x * x).sum((-2, -1)) / (data.Q.any(-1)).sum(-1)
    b = net.B[..., 0, :]
    b_T = data.project(b)
    q = _solve(np.concatenate([b_T, net.v], -1), data.w_T, 2 * c[..., None] * times)
    B = (b - b_T)[..., None, :] + q[..., :-1]
    return Network(B[..., None, :], q[..., -1:])


def _solve(q: Array, w: Array, tau: Array) -> Array:
    """q(tau) (..., times, d + 1) from q_0 = (b_T, v) (..., d + 1), w_T (..., d) and tau (..., times)."""
    values, modes = _modes(q, w)
    rate = values[..., None, :]  # (..., 1, modes)
    top = values.max(-1)[..., None, None]
    t = tau[..., None]
    grown = np.exp((rate - top) * t)  # e^{F tau} without its largest factor e^{top tau}
    # int_0^tau e^{2 rate s} ds e^{-2 top tau}, where rate = 0 gives tau
    small = np.abs(rate * t) < 1e-12
    safe = np.where(small, 1, rate)
    area = np.where(small, t * np.exp(-2 * top * t), (grown**2 - np.exp(-2 * top * t)) / (2 * safe))
    squares = (modes**2).sum(-1)[..., None, :]
    norm = np.exp(-2 * top * t) + (squares * area).sum(-1, keepdims=True)
    return (grown @ modes) / np.sqrt(norm)


def _modes(q: Array, w: Array) -> tuple[Array, Array]:
    """F's eigenvalues (..., 3) and q_0's part in each eigenspace (..., 3, d + 1), which add up to q_0."""
    b, v = q[..., :-1], q[..., -1]
    length = np.linalg.norm(w, axis=-1)
    a = v**2 - (b**2).sum(-1)
    lam = np.sqrt(a**2 / 4 + length**2)
    top = np.concatenate([w, (lam + a / 2)[..., None]], -1)
    bottom = np.concatenate([w, (a / 2 - lam)[..., None]], -1)
    parts = [_along(q, top), _along(q, bottom)]
    return np.stack([lam, -lam, -a / 2], -1), np.stack([*parts, q - parts[0] - parts[1]], -2)


def _along(q: Array, direction: Array) -> Array:
    """The projection of q on `direction`, 0 where that is 0."""
    size = (direction**2).sum(-1, keepdims=True)
    inner = (q * direction).sum(-1, keepdims=True)
    return np.divide(inner, size, out=np.zeros_like(inner), where=size > 0) * direction
