"""The inputs of Theorem 1 (appendix A.2): a source, what is orthogonal to it, and their even mixture.

    x_src = S_src z,   x_orth = S_orth z,   P_trg = (P_src + P_orth) / 2   (Eq. 7)

with z of independent components, mean 0, variance 1, and a density. Both bases have independent columns, and
the columns of one are orthogonal to those of the other. Labels are y = w.x with w = B*^T v*.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from theory import checks
from theory.networks import Array, Mask

DENSITIES = ("gaussian", "uniform")


@dataclass(frozen=True)
class Shift:
    """S_src (d, d_src) and S_orth (d, d_orth); raises ValueError for bases that A.2 does not allow."""

    S_src: Array
    S_orth: Array
    density: str = "gaussian"  # or "uniform" on [-sqrt(3), sqrt(3)]

    def __post_init__(self) -> None:
        checks.choice("density", self.density, DENSITIES)
        for name in ("S_src", "S_orth"):
            object.__setattr__(self, name, checks.array(name, getattr(self, name), ndim=2))
            _check_independent(name, getattr(self, name))
        _check_orthogonal(self.S_src, self.S_orth)

    @property
    def d(self) -> int:
        return self.S_src.shape[0]

    @property
    def d_src(self) -> int:
        return self.S_src.shape[1]

    @property
    def d_orth(self) -> int:
        return self.S_orth.shape[1]

    @property
    def Sigma_src(self) -> Array:
        """E_src x x^T = S_src S_src^T (d, d)."""
        return self.S_src @ self.S_src.T

    @property
    def Sigma_trg(self) -> Array:
        """E_trg x x^T, half of each part's (d, d)."""
        return (self.Sigma_src + self.S_orth @ self.S_orth.T) / 2

    def source(self, rng: Generator, n: int, trials: int = 1) -> Array:
        """x ~ P_src, shape (trials, n, d)."""
        return self._z(rng, n, trials, self.d_src) @ self.S_src.T

    def orthogonal(self, rng: Generator, n: int, trials: int = 1) -> Array:
        """x ~ P_orth, shape (trials, n, d)."""
        return self._z(rng, n, trials, self.d_orth) @ self.S_orth.T

    def target(self, rng: Generator, n: int, trials: int = 1) -> tuple[Array, Mask]:
        """x ~ P_trg (trials, n, d), and which of them come from P_orth (trials, n)."""
        checks.at_least("trials", trials, 1)
        is_orth = rng.random((trials, checks.at_least("n", n, 1))) < 0.5
        z = self._z(rng, n, trials, max(self.d_src, self.d_orth))
        src, orth = z[..., : self.d_src] @ self.S_src.T, z[..., : self.d_orth] @ self.S_orth.T
        return np.where(is_orth[..., None], orth, src), is_orth

    def _z(self, rng: Generator, n: int, trials: int, size: int) -> Array:
        shape = (checks.at_least("trials", trials, 1), checks.at_least("n", n, 1), size)
        if self.density == "uniform":
            return rng.uniform(-np.sqrt(3), np.sqrt(3), shape)
        return rng.standard_normal(shape)


def random_shift(
    rng: Generator, d: int, d_src: int, d_orth: int, density: str = "gaussian"
) -> Shift:
    """Orthonormal bases of a uniformly random pair of orthogonal subspaces; d_src + d_orth <= d."""
    for name, value in (("d_src", d_src), ("d_orth", d_orth)):
        checks.at_least(name, value, 1)
    checks.at_least("d", d, d_src + d_orth)
    Q, _ = np.linalg.qr(rng.standard_normal((d, d_src + d_orth)))
    return Shift(Q[:, :d_src], Q[:, d_src:], density)


def _check_independent(name: str, S: Array) -> None:
    d, columns = S.shape
    rank = int(np.linalg.matrix_rank(S)) if S.size else 0
    if not columns or rank < columns:
        raise ValueError(
            f"{name} must have 1 to {d} linearly independent columns; of its {columns}, {rank} are"
        )


def _check_orthogonal(S_src: Array, S_orth: Array) -> None:
    if len(S_src) != len(S_orth):
        raise ValueError(f"S_src has {len(S_src)} rows, but S_orth {len(S_orth)}: both must have d")
    lengths = np.linalg.norm(S_src, axis=0)[:, None] * np.linalg.norm(S_orth, axis=0)
    cosine = np.abs(S_src.T @ S_orth / lengths).max()
    if cosine > 1e-10:
        raise ValueError(
            f"the columns of S_src and S_orth must be orthogonal; one pair has cosine {cosine:.3g}"
        )
