"""Two-layer networks f(x) = v^T phi(B x), their squared loss, its gradient, and its population value.

Letters as in section 3 of the paper: x in R^d, B in R^{k x d}, v in R^k, phi the identity ("linear") or
max(0, .) ("relu"). Leading axes "..." are trials: every function broadcasts over them. `predict` and
`gradients` take numpy arrays or torch tensors and give back what they were given.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
ACTIVATIONS = ("linear", "relu")


class Network(NamedTuple):
    """B (..., k, d) and v (..., k)."""

    B: Any
    v: Any


def predict(net: Network, x: Any, phi: str = "linear") -> Any:
    """v^T phi(B x) for inputs x (..., n, d) -> (..., n)."""
    return (_hidden(net.B, x, phi)[0] @ net.v[..., None])[..., 0]


def gradients(net: Network, x: Any, y: Any, phi: str = "linear") -> tuple[Any, Network]:
    """The empirical loss sum_i (f(x_i) - y_i)^2, shape (...), and its gradient in B and in v."""
    hidden, active = _hidden(net.B, x, phi)  # (..., n, k)
    r = (hidden @ net.v[..., None])[..., 0] - y  # residuals (..., n)
    dv = 2 * (r[..., None, :] @ hidden)[..., 0, :]
    dB = 2 * (r[..., None] * net.v[..., None, :] * active).swapaxes(-1, -2) @ x
    return (r * r).sum(-1), Network(dB, dv)


def _hidden(B: Any, x: Any, phi: str) -> tuple[Any, Any]:
    """phi(B x) and phi'(B x), each (..., n, k)."""
    z = x @ B.swapaxes(-1, -2)
    if phi == "linear":
        return z, 1.0
    active = z > 0
    return z * active, active


def linear_map(net: Network) -> Array:
    """w = B^T v (..., d): the vector that a linear network multiplies its input with."""
    return (net.v[..., None, :] @ net.B)[..., 0, :]


def quadratic_form(e: Array, Sigma: Array) -> Array:
    """e^T Sigma e for vectors e (..., d) and matrices Sigma (..., d, d)."""
    return ((e[..., None, :] @ Sigma)[..., 0, :] * e).sum(-1)


def linear_loss(net: Network, w: Array, Sigma: Array) -> Array:
    """E (v^T B x - w.x)^2 = e^T Sigma e with e = B^T v - w, exact for any inputs with E x x^T = Sigma."""
    return quadratic_form(linear_map(net) - w, Sigma)


def relu_loss(net: Network, true: Network, Sigma: Array) -> Array:
    """E (v^T relu(B x) - v*^T relu(B* x))^2, exact for Gaussian inputs x ~ N(0, Sigma), shape (...).

    With c = (v, -v*) and rows b_i those of B and then of B*, it is sum_ij c_i c_j K(b_i, b_j), where
    K = `arc_cosine`.
    """
    nets = (net, true)
    lead = np.broadcast_shapes(*(part.v.shape[:-1] for part in nets))
    rows = [np.broadcast_to(part.B, lead + part.B.shape[-2:]) for part in nets]
    c = [np.broadcast_to(v, lead + v.shape[-1:]) for v in (net.v, -true.v)]
    K = arc_cosine(np.concatenate(rows, axis=-2), Sigma)
    return np.maximum(quadratic_form(np.concatenate(c, axis=-1), K), 0)  # rounding may pass below 0


def arc_cosine(rows: Array, Sigma: Array) -> Array:
    """K_ij = E relu(b_i.x) relu(b_j.x), x ~ N(0, Sigma), for the rows b_i (..., k, d) -> (..., k, k).

    K = |b_i| |b_j| (sin t + (pi - t) cos t) / (2 pi) with lengths and the angle t taken in Sigma.
    Source: Cho and Saul, "Kernel Methods for Deep Learning" (2009), equation 6 with n = 1.
    """
    gram = rows @ Sigma @ rows.swapaxes(-1, -2)
    length = np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 0))
    scale = length[..., :, None] * length[..., None, :]
    cos = np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0).clip(-1, 1)
    t = np.arccos(cos)
    return scale * (np.sin(t) + (np.pi - t) * cos) / (2 * np.pi)


def monte_carlo_loss(
    net: Network, label: Callable[[Array], Array], x: Array, phi: str = "linear"
) -> tuple[Array, Array]:
    """E (f(x) - label(x))^2 from independent inputs x (..., n, d): its mean and its standard error (...)."""
    n = x.shape[-2]
    if n < 2:
        raise ValueError(f"x must hold at least 2 inputs for a standard error, not {n}")
    squares = (predict(net, x, phi) - label(x)) ** 2
    return squares.mean(-1), squares.std(-1, ddof=1) / np.sqrt(n)
