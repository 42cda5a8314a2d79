"""Linear networks in the basis of their data: the same gradient flow with fewer numbers.

With X = U S Q, Q (m, d) of m = min(n, d) orthonormal rows, C = B Q^T and c = U^T y,

    L = |S C^T v - c|^2 + |y|^2 - |c|^2,    dL/dC = v g^T,    dL/dv = C g,    g = 2 S (S C^T v - c).

The part of B off Q's rows has gradient 0, and a rotation leaves gradient flow as it is. A gradient takes O(k m)
operations per trial in place of O(k n d), which is what made many flows at once slow.
"""

import numpy as np

from theory.networks import Array, Network
from theory.problem import RANK, Field, Problem


class Rotated(Problem):
    """A `Problem` of linear networks whose states q (trials, k (m + 1)) hold C's entries and then v's."""

    def __init__(self, net: Network, x: Array, y: Array, tune: str) -> None:
        super().__init__(net, x, y, tune, "linear")
        self.B, v = super().network(self.q, np.arange(len(self)))
        U, self.s, self.Q = np.linalg.svd(self.x, full_matrices=False)
        self.c = (self.y[:, None, :] @ U)[:, 0]
        self.C = self.B @ self.Q.swapaxes(-1, -2)
        self.q = np.concatenate([self.C.reshape(len(self), -1), v], axis=1)

    def network(self, q: Array, index: np.ndarray) -> Network:
        """B = B at the start + (C - C at the start) Q, and v, as in `Problem`."""
        C, v = self._split(q)
        between = tuple(range(1, q.ndim - 1))
        B, start, Q = (np.expand_dims(part[index], between) for part in (self.B, self.C, self.Q))
        return Network(B + (C - start) @ Q, v)

    def velocity(self, index: np.ndarray, unit: Array) -> Field:
        s, c = self.s[index], self.c[index]
        curve, pull = -2 * unit[:, None] * s * s, -2 * unit[:, None] * s * c

        def field(q: Array) -> Array:
            C, v = self._split(q)
            g = curve * np.einsum("tk,tkm->tm", v, C) - pull
            dq = np.zeros_like(q)
            dC, dv = self._split(dq)
            if self.tune != "last":
                np.multiply(v[:, :, None], g[:, None, :], out=dC)
            if self.tune != "first":
                np.einsum("tkm,tm->tk", C, g, out=dv)
            return dq

        return field

    def fastest(self) -> Array:
        """The Hessian's largest eigenvalue where the loss is small (trials,): at the start or in the limit of k = 1.

        A batch takes the steps of its fastest trial, so this is worth an eigenvalue. In the limit C = w_T / v.
        """
        C, v = self._split(self.q)
        s, C2, v2 = self.s, (C * C).sum((-2, -1)), (v * v).sum(-1)
        w = np.divide(self.c, s, out=np.zeros_like(s), where=s > RANK * s[:, :1])
        root = np.sqrt((v2 - C2) ** 2 + 4 * (w * w).sum(-1))  # |C|^2 + |v|^2 in the limit
        b2 = np.maximum(root - (v2 - C2), 0) / 2  # |C|^2 there
        along = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-300)
        limit = self._top(np.sqrt(b2)[:, None, None] * along[:, None, :], (root + (v2 - C2)) / 2)
        start = self._top(C, v2)
        return np.maximum(start, limit) if self.tune == "all" else start

    def _top(self, C: Array, v2: Array) -> Array:
        """Twice the largest eigenvalue of S (C^T C + |v|^2) S (trials,), by what moves."""
        SC = self.s[:, None, :] * C
        H = np.zeros((len(self), 1, 1)) if self.tune == "first" else SC.swapaxes(-1, -2) @ SC
        if self.tune != "last":
            H = H + (v2[:, None] * self.s**2)[:, :, None] * np.eye(self.s.shape[1])
        finite = np.isfinite(H.sum((-2, -1)))
        H = np.where(finite[:, None, None], H, 0)
        return np.where(finite, 2 * np.linalg.eigvalsh(H)[:, -1], np.inf)

    def _split(self, q: Array) -> tuple[Array, Array]:
        """C (..., k, m) and v (..., k)."""
        size = q.shape[-1] - self.k
        return q[..., :size].reshape(*q.shape[:-1], self.k, -1), q[..., size:]
