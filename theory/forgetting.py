"""What full fine-tuning forgets (k = 1): the loss it ends with, its mean over the data, and a bound at all times.

Write T for the span of the training inputs, P_T for its projector, and U for what of the source and the orthogonal
subspace is outside T. All statements are about L_trg(B, v) = e^T Sigma_trg e with e = v b - w.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import roots_jacobi
from scipy.stats import binom

from theory import checks
from theory.exact import Fit, head_squared
from theory.networks import Array, Network, quadratic_form

NODES = 40  # of the quadrature over the share of w that the data see
GRID, ROUNDS = 49, 7  # of the search for the bound's minimum: each round looks 24 times closer


def excess_loss(v_end: Array, v_pre: Array, w: Array, data: Fit, Sigma_src: Array) -> Array:
    """(v_end / v_pre - 1)^2 E_src (w.(I - P_T) x)^2 / 2, shape (...): L_trg at the end of full tuning.

    For a source learned perfectly and T that contains the orthogonal subspace; v (...), w (..., d).
    """
    unseen = w - data.project(w)
    return (v_end / v_pre - 1) ** 2 * quadratic_form(unseen, Sigma_src) / 2


class Known(NamedTuple):
    """What `expected_excess` needs of a pre-trained network and of the truth, each (...): v_pre, |w_src|^2
    and |w_orth|^2, the squared lengths of w's two parts, and |b_orth|^2, that of b's part from initialisation."""

    v: Array
    w_src: Array
    w_orth: Array
    b_orth: Array


def expected_excess(known: Known, n: int, d_src: int, d_orth: int) -> Array:
    """E over the data of `excess_loss` (...), given that T contains the orthogonal subspace.

    For Gaussian inputs and orthonormal bases. Of n examples m ~ Bin(n, 1/2) are of the source, and the share of
    w_src that they span is c ~ Beta(m / 2, (d_src - m) / 2), since their span is uniform. With it, a and |w_T|^2
    are known, so is v_end, and the excess is (v_end / v_pre - 1)^2 |w_src|^2 (1 - c) / 2. The span contains the
    orthogonal subspace where n - m >= d_orth. Assumes that v keeps its sign.
    """
    for name, value in (("n", n), ("d_src", d_src), ("d_orth", d_orth)):
        checks.at_least(name, value, 1)
    checks.at_least("n", n, d_orth)
    m = np.arange(n - d_orth + 1)
    weight = binom.pmf(m, n, 0.5)
    means = np.stack([_mean_excess(known, int(count), d_src) for count in m], -1)
    return (means * weight).sum(-1) / weight.sum()


def _mean_excess(known: Known, m: int, d_src: int) -> Array:
    """The mean over c where m examples are of the source."""
    if m >= d_src:
        return np.zeros_like(known.v)
    if m == 0:
        return _excess_at_share(known, np.zeros(1))[..., 0]
    x, weight = roots_jacobi(NODES, (d_src - m) / 2 - 1, m / 2 - 1)
    return (_excess_at_share(known, (1 + x) / 2) * weight).sum(-1) / weight.sum()


def _excess_at_share(known: Known, c: Array) -> Array:
    """The excess (..., shares) where the data span the share c of w_src's squared length."""
    v, w_src, w_orth, b_orth = (np.asarray(value, dtype=float)[..., None] for value in known)
    b_T, w_T = w_src * c / v**2 + b_orth, w_src * c + w_orth  # squared lengths
    u = head_squared(np.abs(v), np.sqrt(b_T)[..., None], np.sqrt(w_T)[..., None])
    return (np.sqrt(u) / np.abs(v) - 1) ** 2 * w_src * (1 - c) / 2


def lowest_possible(pre: Network, w: Array, data: Fit, S_src: Array, S_orth: Array) -> Array:
    """A bound (...) that L_trg never falls below during full fine-tuning: Lemma 2 as a number.

    At all times b outside T is b_pre's, and v^2 - |b_T|^2 = a (Eq. 16). So, with e_U = v P_U b_pre - P_U w and
    |e_T| >= ||v| |b_T| - |w_T||,

        L_trg(t) >= lambda min_v { |v P_U b_pre - P_U w|^2 + (|v| sqrt(v^2 - a) - |w_T|)^2 },   v^2 >= a,

    lambda the least nonzero eigenvalue of Sigma_trg. It is 0 only if v = v_pre (first term, source learned)
    meets |P_orth b_init|^2 = |P_orth w|^2 / v_pre^2 (second term): Eq. 23, of probability 0.
    """
    both = np.concatenate([S_src, S_orth], axis=1)
    basis, _ = np.linalg.qr(both)
    b, v = pre.B[..., 0, :], pre.v[..., 0]
    b_T, w_T = data.project(b), data.project(w)
    b_U, w_U = ((value @ basis) @ basis.T for value in (b - b_T, w - w_T))
    a = v**2 - (b_T**2).sum(-1)
    terms = _Terms(a, (b_U**2).sum(-1), (b_U * w_U).sum(-1), (w_U**2).sum(-1), _length(w_T))
    smallest = np.linalg.svd(both, compute_uv=False)[-1] ** 2 / 2
    return smallest * np.minimum(_minimum(terms, 1.0), _minimum(terms, -1.0))


class _Terms(NamedTuple):
    a: Array
    bb: Array
    bw: Array
    ww: Array
    w_T: Array

    def at(self, r: Array, sign: float) -> Array:
        """The braces at v = sign sqrt(max(a, 0) + r^2), r >= 0 (..., points)."""
        a, bb, bw, ww, w_T = (value[..., None] for value in self)
        v2 = np.maximum(a, 0) + r**2
        outside = v2 * bb - 2 * sign * np.sqrt(v2) * bw + ww
        inside = np.sqrt(v2 * (v2 - a)) - w_T
        return np.maximum(outside, 0) + inside**2


def _minimum(terms: _Terms, sign: float) -> Array:
    """min over r in [0, R] by a grid that closes in; beyond R the braces exceed their value at r = 0."""
    start = terms.at(np.zeros(1), sign)[..., 0]
    reach = terms.w_T + np.sqrt(start)  # |v| |b_T| at which the second term alone exceeds it
    low, high = np.zeros_like(reach), np.sqrt(reach) + np.sqrt(np.abs(terms.a))
    for _ in range(ROUNDS):
        r = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, GRID)
        value = terms.at(r, sign)
        best, step = value.argmin(-1), (high - low) / (GRID - 1)
        centre = np.take_along_axis(r, best[..., None], -1)[..., 0]
        low, high = np.maximum(centre - step, 0), centre + step
    return value.min(-1)


def _length(vector: Array) -> Array:
    return np.linalg.norm(vector, axis=-1)
