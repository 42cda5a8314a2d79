"""Arrays of fractions.Fraction: +, *, @ and > on them are exact, so a loss of 0 is 0 and not 1e-16."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.random import Generator
from numpy.typing import NDArray

Rationals = NDArray[Any]  # dtype object


def draw(rng: Generator, *shape: int, positive: bool = False) -> Rationals:
    """Independent n / m with n uniform on -9, ..., 9 (`positive`: on 1, ..., 9) and m on 1, ..., 9."""
    n = rng.integers(1 if positive else -9, 10, shape)
    return _fractions(n, rng.integers(1, 10, shape))


def draw_invertible(rng: Generator, d: int) -> Rationals:
    """A random invertible (d, d): strictly diagonally dominant, its rows in random order and of random sign.

    Entries off the diagonal are in [-1, 1], those on it at least d, so Gershgorin's discs leave out 0.
    """
    A = _fractions(rng.integers(-9, 10, (d, d)), np.full((d, d), 9))
    sign = rng.choice((-1, 1), d)
    for i in range(d):
        A[i, i] = int(sign[i]) * (d + abs(A[i, i]))
    return A[rng.permutation(d)]


def inverse(A: Rationals) -> Rationals:
    """A^-1 (d, d), exact; `A` must be invertible."""
    entries = sympy.Matrix(A.tolist()).inv().tolist()
    return np.array([[Fraction(int(q.p), int(q.q)) for q in row] for row in entries], dtype=object)


def rank(A: Rationals) -> int:
    """The rank of A, exact."""
    return int(sympy.Matrix(A.tolist()).rank())


def identity(d: int) -> Rationals:
    """The identity (d, d) in Fractions."""
    return _fractions(np.eye(d, dtype=int), np.ones((d, d), dtype=int))


def _fractions(n: Any, m: Any) -> Rationals:
    pairs = zip(n.ravel().tolist(), m.ravel().tolist(), strict=True)
    result = np.empty(n.size, dtype=object)
    result[:] = [Fraction(*pair) for pair in pairs]
    return result.reshape(n.shape)
