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

WHITE = 1e-12  # relative deviation of X^T X from a multiple of P_T that counts as rounding


def limit_sign(net: Network, x: Array, y: Array) -> Array:
    """+1 or -1 (...): the sign of v in the limit of full tuning, k = 1."""
    lead = np.broadcast_shapes(net.v.shape[:-1], x.shape[:-2], y.shape[:-1])
    B, v, x, y = (
        np.broadcast_to(value, lead + value.shape[-axes:]).reshape(-1, *value.shape[-axes:])
        for value, axes in ((net.B, 2), (net.v, 1), (x, 2), (y, 1))
    )
    sign = np.sign(v[:, 0])
    open_ = np.flatnonzero(~keeps_sign(Network(B, v), x, y))
    if open_.size:
        rest = Network(B[open_], v[open_])
        sign[open_] = _whitened_or_path(rest, x[open_], y[open_])
    return sign.reshape(lead)


def keeps_sign(net: Network, x: Array, y: Array) -> Mask:
    """Whether v surely keeps its sign (...), by either of the two arguments above."""
    loss, _ = gradients(net, x, y)
    # |P_T b| <= |b|: the first argument without a projector, a little weaker
    return (loss < (y * y).sum(-1)) | (net.v[..., 0] ** 2 > (net.B**2).sum((-2, -1)))


def _whitened_or_path(net: Network, x: Array, y: Array) -> Array:
    sign = np.empty(len(x))
    white = is_whitened(x)
    if white.any():
        sign[white] = whitened_sign(Network(net.B[white], net.v[white]), x[white], y[white])
    if not white.all():
        rest = ~white
        sign[rest] = _sign_on_path(Network(net.B[rest], net.v[rest]), x[rest], y[rest])
    return sign


def is_whitened(x: Array) -> Mask:
    """Whether all nonzero singular values of x (..., n, d) are equal: (X X^T)^2 = c X X^T."""
    s = np.linalg.svd(x, compute_uv=False)
    top = s[..., :1]
    return ((s > (1 - WHITE) * top) | (s < WHITE * top)).all(-1)


def whitened_sign(net: Network, x: Array, y: Array) -> Array:
    """The sign of q.e, q = (P_T b, v) at the start and e the top eigenvector of `theory.whitened`'s F."""
    b, v = net.B[..., 0, :], net.v[..., 0]
    c = (x * x).sum((-2, -1)) / np.linalg.matrix_rank(x)
    w_T = (y[..., None, :] @ x)[..., 0, :] / c[..., None]  # X^+ y
    b_T = ((x @ b[..., None]).swapaxes(-1, -2) @ x)[..., 0, :] / c[..., None]
    a, w2 = v**2 - (b_T**2).sum(-1), (w_T**2).sum(-1)
    return np.sign((w_T * b_T).sum(-1) + (np.sqrt(a**2 / 4 + w2) + a / 2) * v)


def _sign_on_path(net: Network, x: Array, y: Array) -> Array:
    """The sign of v once the loss is below |y|^2, from when on it cannot change."""
    return np.sign(flow(net, x, y, stop_below=(1 - 1e-6) * (y * y).sum(-1)).net.v[:, 0])
