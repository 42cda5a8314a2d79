"""Where gradient flow ends, in closed form.

With T the span of the training inputs, P_T its projector and w_T = X^+ y (equal to P_T w where y = X w):

    first layer, any k:  b_fl = b_pre + P_T (w_T - b_pre)            for the map b = B^T v, v fixed
    last layer, any k:   v_ll = v_pre + H^+ (y - H v_pre)            least squares on features H = phi(X B^T)
    both layers, k = 1:  v^2 = (a + sqrt(a^2 + 4 |w_T|^2)) / 2,  a = v_pre^2 - |P_T b_pre|^2,
                         b_ft = b_pre + P_T (w_T / v - b_pre)        the forgetting law

The law for both layers follows from Eq. 16 (v^2 - |b|^2 is constant), from components of b outside T never
moving, and from the loss being at its minimum in the end, v P_T b = w_T. The sign of v is one bit that these
do not give: see `theory.signs`. Pre-training is the same law with T the source subspace.
"""

from typing import NamedTuple

import numpy as np

from theory import checks
from theory.networks import Array, Network, linear_map
from theory.problem import RANK
from theory.signs import limit_sign


class Fit(NamedTuple):
    """What training data say about a linear map: Q (..., m, d), the orthonormal rows that span T (zero rows
    where the rank is below m = min(n, d)), and w_T = X^+ y (..., d)."""

    Q: Array
    w_T: Array

    def project(self, b: Array) -> Array:
        """P_T b for vectors b (..., d)."""
        return ((self.Q @ b[..., None]).swapaxes(-1, -2) @ self.Q)[..., 0, :]


def fit(x: Array, y: Array) -> Fit:
    """The span of the inputs x (..., n, d) and the least-squares map of least norm for labels y (..., n)."""
    U, s, Q = np.linalg.svd(x, full_matrices=False)
    kept = s > RANK * s[..., :1]
    c = (y[..., None, :] @ U)[..., 0, :] * np.divide(1, s, out=np.zeros_like(s), where=kept)
    return Fit(Q * kept[..., None], (c[..., None, :] @ Q)[..., 0, :])


def first_layer_limit(net: Network, x: Array, y: Array, data: Fit | None = None) -> Network:
    """Limit of tuning B with v fixed, v != 0, linear, any k: B = B_pre + v (w_T - P_T b_pre)^T / |v|^2.

    data: `fit(x, y)`, where it is known already.
    """
    net, x, y = check_data(net, x, y)
    checks.nonzero("v", net.v)
    data = data or fit(x, y)
    step = data.w_T - data.project(linear_map(net))
    scale = net.v / (net.v**2).sum(-1, keepdims=True)
    return Network(net.B + scale[..., None] * step[..., None, :], net.v)


def last_layer_limit(net: Network, x: Array, y: Array, phi: str = "linear") -> Network:
    """Limit of tuning v with B fixed, any k and activation: least squares, from v_pre on."""
    net, x, y = check_data(net, x, y)
    features = x @ net.B.swapaxes(-1, -2)
    features = features if phi == "linear" else np.maximum(features, 0)  # (..., n, k)
    data = fit(features, y)
    return Network(net.B, net.v + data.w_T - data.project(net.v))


def full_limit(net: Network, x: Array, y: Array, data: Fit | None = None) -> Network:
    """Limit of tuning both layers, linear, k = 1: the forgetting law. `data`: `fit(x, y)`, if known.

    Raises ValueError for k > 1, where the limit depends on the path (see `theory.flow`), and for v = 0 or
    labels that x does not explain at all (w_T = 0), where the flow may end in the saddle at 0.
    """
    net, x, y = check_data(net, x, y)
    if net.v.shape[-1] != 1:
        raise ValueError(f"k must be 1 for a limit in closed form, not {net.v.shape[-1]}: use flow")
    checks.nonzero("v", net.v)
    data = data or fit(x, y)
    explained = np.linalg.norm(x, axis=(-2, -1)) * np.linalg.norm(data.w_T, axis=-1)
    some = explained > RANK * np.linalg.norm(y, axis=-1)
    checks.nonzero("the part of y that x explains", np.where(some[..., None], data.w_T, 0))
    b, v = net.B[..., 0, :], net.v[..., 0]
    size = head_squared(v, data.project(b), data.w_T)
    v_end = limit_sign(net, x, y) * np.sqrt(size)
    b_end = b + data.w_T / v_end[..., None] - data.project(b)
    return Network(b_end[..., None, :], v_end[..., None])


def head_squared(v: Array, b_T: Array, w_T: Array) -> Array:
    """u = v_inf^2 (...) from v (...), b_T = P_T b and w_T (..., d).

    Where a < 0, u is taken from the other root of u^2 - a u - |w_T|^2 = 0, which does not cancel.
    """
    a, q = v**2 - (b_T**2).sum(-1), (w_T**2).sum(-1)
    root = np.sqrt(a**2 + 4 * q)
    return np.where(a >= 0, (a + root) / 2, 2 * q / (root + np.abs(a)))


def pretrained(net: Network, S_src: Array, w: Array) -> Network:
    """Limit of both layers on the source's population loss, k = 1: E_src x x^T = S_src S_src^T.

    The loss is |S_src^T (B^T v - w)|^2, that of d_src examples, the columns of S_src (..., d, d_src).
    """
    x = S_src.swapaxes(-1, -2)
    return full_limit(net, x, (x @ w[..., None])[..., 0])


def check_data(net: Network, x: Array, y: Array) -> tuple[Network, Array, Array]:
    """All as float64 and finite, of shapes B (..., k, d), v (..., k), x (..., n, d), y (..., n), n >= 1."""
    B, v = checks.array("B", net.B), checks.array("v", net.v)
    x, y = checks.array("x", x), checks.array("y", y)
    checks.shape("B", B, (None, None))
    checks.shape("v", v, (B.shape[-2],))
    checks.shape("x", x, (None, B.shape[-1]))
    checks.at_least("n", x.shape[-2], 1)
    checks.shape("y", y, (x.shape[-2],))
    return Network(B, v), x, y
