"""The sign of the last layer in the limit of full tuning, k = 1.

The forgetting law gives v^2. The sign stays that of v at the start wherever v cannot pass 0:
  - v^2 > |P_T b|^2, since v^2 - |P_T b|^2 is constant (Eq. 16) and negative at v = 0;
  - or a loss below |y|^2, the loss at v = 0, since the loss only falls.
Where neither holds it may change, and does for some random initialisations. For whitened
inputs, X^T X = c P_T, the flow is solved in closed form (see `theory.whitened`) and

    sign(v_inf) = sign(|w_T| beta + (lambda + a/2) v),   beta = b.w_T / |w_T|,   lambda = sqrt(a^2/4 + |w_T|^2).

For other inputs the path itself is asked, until its loss is below |y|^2.
"""

import numpy as np

from theory.flow import flow
from theory.networks import Array, Mask, Network, gradients

WHITE = 1e-10  # relative deviation of X^T X from a multiple of P_T that counts as rounding


def limit_sign(net: Network, x: Array, y: Array) -> Array:
    """+1 or -1 (...): the sign of v in the limit of full tuning, k = 1."""
    open_ = ~keeps_sign(net, x, y)
    sign = np.broadcast_to(np.sign(net.v[..., 0]), open_.shape).copy()
    if open_.any():
        B, v, x, y = (
            np.broadcast_to(value, open_.shape + value.shape[-axes:])[open_]
            for value, axes in ((net.B, 2), (net.v, 1), (x, 2), (y, 1))
        )
        sign[open_] = _computed_sign(Network(B, v), x, y)
    return sign


def keeps_sign(net: Network, x: Array, y: Array) -> Mask:
    """Whether v surely keeps its sign (...), by either of the two arguments above."""
    loss, _ = gradients(net, x, y)
    # |P_T b| <= |b|: the first argument without a projector, a little weaker
    large = net.v[..., 0] ** 2 > (net.B**2).sum((-2, -1))
    return np.asarray((loss < (y * y).sum(-1)) | large)


def is_whitened(x: Array) -> Mask:
    """Whether all nonzero singular values of x (..., n, d) are equal: G^2 = c G for G = X X^T."""
    G = x @ x.swapaxes(-1, -2)
    c = (G * G).sum((-2, -1)) / np.trace(G, axis1=-2, axis2=-1)
    error = np.abs(G @ G - c[..., None, None] * G).max((-2, -1))
    return np.asarray(error <= WHITE * c**2)


def whitened_sign(net: Network, x: Array, y: Array) -> Array:
    """The sign of q.e, q = (P_T b, v) at the start and e the top eigenvector of `theory.whitened`'s F."""
    b, v = net.B[..., 0, :], net.v[..., 0]
    G = x @ x.swapaxes(-1, -2)
    c = ((G * G).sum((-2, -1)) / np.trace(G, axis1=-2, axis2=-1))[..., None]
    w_T = (y[..., None, :] @ x)[..., 0, :] / c  # X^+ y
    b_T = ((x @ b[..., None]).swapaxes(-1, -2) @ x)[..., 0, :] / c
    a, w2 = v**2 - (b_T**2).sum(-1), (w_T**2).sum(-1)
    return np.sign((w_T * b_T).sum(-1) + (np.sqrt(a**2 / 4 + w2) + a / 2) * v)


def _computed_sign(net: Network, x: Array, y: Array) -> Array:
    """By the closed form for whitened inputs; else on the path, from where |y|^2 is passed and v keeps its sign."""
    sign, rest = whitened_sign(net, x, y), ~is_whitened(x)
    if rest.any():
        net, x, y = Network(net.B[rest], net.v[rest]), x[rest], y[rest]
        path = flow(net, x, y, stop_below=(1 - 1e-6) * (y * y).sum(-1))
        sign[rest] = np.sign(path.net.v[:, 0])
    return sign
