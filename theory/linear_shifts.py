"""Invertible linear shifts x_trg = A x_src of the input: random ones, brightness, Gaussian blur.

Section 3.1 names brightness and Gaussian blur as special cases of Proposition 1. Both are, with a remark:
brightness as A = s I is undone by the last layer as well, since relu(s z) = s relu(z); and blur is invertible
for every width, but its condition number grows as exp(pi^2 sigma^2), so it soon is not in floating point.
"""

import numpy as np
from numpy.random import Generator

from theory import checks
from theory.networks import Array

BOUNDARIES = ("reflect", "zero")


def orthogonal(rng: Generator, d: int) -> Array:
    """A uniformly (Haar) random orthogonal matrix (d, d).

    Source: Mezzadri, "How to generate random matrices from the classical compact groups" (2007), section 5.
    """
    Q, R = np.linalg.qr(rng.standard_normal((checks.at_least("d", d, 1),) * 2))
    return Q * np.sign(np.diagonal(R))


def stretch(rng: Generator, d: int, condition: float) -> Array:
    """Q S Q^T (d, d): symmetric, positive definite, Q random; no direction is turned by 90 degrees or more.

    S holds d singular values at equal ratios from condition^-1/2 to condition^1/2; for d = 1 it is 1.
    """
    Q = orthogonal(rng, d)
    return Q * singular_values(d, condition) @ Q.T


def turn_and_stretch(rng: Generator, d: int, condition: float) -> Array:
    """U S V^T (d, d): U and V random and independent, S as in `stretch`."""
    U, V = orthogonal(rng, d), orthogonal(rng, d)
    return U * singular_values(d, condition) @ V.T


def singular_values(d: int, condition: float) -> Array:
    """d values at equal ratios from condition^1/2 down to condition^-1/2, of product 1 (d,)."""
    checks.at_least("d", d, 1)
    if not 1 <= condition < np.inf:
        raise ValueError(f"condition must be at least 1 and finite, not {condition}")
    return np.asarray(float(condition) ** np.linspace(0.5, -0.5, d) if d > 1 else np.ones(1))


def brightness(s: float, d: int) -> Array:
    """s I (d, d), s > 0: every pixel times s, nothing clipped."""
    return checks.between("s", s, 0, np.inf) * np.eye(checks.at_least("d", d, 1))


def blur(sigma: float, h: int, boundary: str = "reflect") -> Array:
    """Gaussian blur of h x h patches, row by row, as a symmetric matrix T kron T (h^2, h^2).

    T (h, h) convolves with g_n = exp(-n^2 / (2 sigma^2)) / sum; sigma > 0 is in pixels. Beyond the border lies
    0 ("zero": T_ij = g_(i-j), Toeplitz) or the mirror image ("reflect": c b a | a b c | c b a, so that every
    row sums to 1). The kernel is cut where it is below 1e-16 of its peak. T is positive definite for either:
    the Fourier series of g is positive (Poisson summation).
    """
    checks.between("sigma", sigma, 0, np.inf)
    checks.at_least("h", h, 1)
    checks.choice("boundary", boundary, BOUNDARIES)
    reach = int(np.ceil(9 * sigma)) + h
    n = np.arange(-reach, reach + 1)
    g = np.exp(-(n**2) / (2 * sigma**2))
    i = np.arange(h)
    T = np.zeros((h, h))
    at = i[:, None] + n  # where output i reads with weight g_n
    if boundary == "reflect":
        at = at % (2 * h)
        at = np.minimum(at, 2 * h - 1 - at)
    inside = (at >= 0) & (at < h)
    rows, columns = np.nonzero(inside)
    np.add.at(T, (rows, at[rows, columns]), (g / g.sum())[columns])
    return np.asarray(np.kron(T, T))


def blur_condition(sigma: float, h: int) -> float:
    """The condition number of `blur(sigma, h, "reflect")`, exact where the matrix itself is rounded to singular.

    The cosines diagonalise T, with eigenvalues G(pi m / h), m = 0, ..., h - 1, where by Poisson summation
    G(w) = sum_j exp(-sigma^2 (w + 2 pi j)^2 / 2) / sum_j exp(-sigma^2 (2 pi j)^2 / 2), all terms positive.
    For sigma of a pixel or more, exp(pi^2 sigma^2 (1 - 1/h)^2) over 1 to 4; infinity where that overflows.
    """
    checks.between("sigma", sigma, 0, np.inf)
    checks.at_least("h", h, 1)
    j = 2 * np.pi * np.arange(-_terms(sigma), _terms(sigma) + 1)
    w = np.pi * (h - 1) / h
    low = np.logaddexp.reduce(-((sigma * (w + j)) ** 2) / 2)
    high = np.logaddexp.reduce(-((sigma * j) ** 2) / 2)
    with np.errstate(over="ignore"):
        return float(np.exp(2 * (high - low)))


def pixel_covariance(h: int, rho: float) -> Array:
    """E x_p x_q = rho^(rows + columns between p and q) of pixels of h x h patches (h^2, h^2).

    0 <= rho < 1; 0 is white noise, about 0.95 the usual model of neighbouring pixels in photographs.
    Source: Jain, "Fundamentals of Digital Image Processing" (1989), section 2.9 (separable covariance).
    """
    if not 0 <= rho < 1:
        raise ValueError(f"rho must be at least 0 and below 1, not {rho}")
    i = np.arange(checks.at_least("h", h, 1))
    row = np.asarray(float(rho) ** np.abs(i[:, None] - i))
    return np.kron(row, row)


def _terms(sigma: float) -> int:
    """Past these, terms of the series in `blur_condition` are below 1e-16 of the largest."""
    return 2 + int(np.ceil(9 / (2 * np.pi * sigma)))
