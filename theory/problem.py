"""Many training problems at once, one per trial, as functions of one state vector each."""

from collections.abc import Callable

import numpy as np

from theory import checks
from theory.networks import ACTIVATIONS, Array, Network, gradients, predict

TUNE = ("first", "last", "all")
Field = Callable[[Array], Array]
Watch = Callable[
    [Network, np.ndarray], Array
]  # (networks of some trials, their indices) -> a value each
RANK = 1e-10  # singular values below this share of the largest are rounding


class Problem:
    """Loss and gradient at states q (trials, k (d + 1)), which hold B's entries and then v's.

    net, x, y: B (trials, k, d), v (trials, k), x (trials, n, d), y (trials, n); what lacks the leading axis is
        shared by all trials.
    tune: the layer that moves: "first" (B), "last" (v) or "all". The other's gradient is 0.

    Raises ValueError for other shapes and choices, n < 1 and data that are not finite.
    """

    def __init__(self, net: Network, x: Array, y: Array, tune: str, phi: str) -> None:
        checks.choice("tune", tune, TUNE)
        checks.choice("phi", phi, ACTIVATIONS)
        B, v, self.x, self.y = _spread(net, x, y)
        self.tune, self.phi = tune, phi
        self.k, self.d = B.shape[-2:]
        self.q = np.concatenate([B.reshape(len(B), -1), v], axis=1)
        self.stretch = 2 * (self.x**2).sum((-2, -1))  # (trials,)

    def __len__(self) -> int:
        return len(self.q)

    @property
    def moves(self) -> Array:
        """1 for the entries of a state that tuning moves, 0 for the others (k (d + 1),)."""
        size = self.k * self.d
        return np.repeat([self.tune != "last", self.tune != "first"], [size, self.k]).astype(float)

    def network(self, q: Array, index: np.ndarray) -> Network:
        """B (m, ..., k, d) and v (m, ..., k) of the trials `index` at states q (m, ..., k (d + 1))."""
        size = self.k * self.d
        return Network(q[..., :size].reshape(*q.shape[:-1], self.k, self.d), q[..., size:])

    def part(self, index: np.ndarray) -> Callable[[Array], tuple[Array, Array]]:
        """For the trials `index`: q (m, k (d + 1)) -> sum_i (f(x_i) - y_i)^2, (m,), and its gradient, of q's shape."""
        x, y = self.x[index], self.y[index]

        def loss_and_gradient(q: Array) -> tuple[Array, Array]:
            loss, (dB, dv) = gradients(self.network(q, index), x, y, self.phi)
            return loss, self.join(dB, dv)

        return loss_and_gradient

    def velocity(self, index: np.ndarray, unit: Array) -> Field:
        """dq/ds = -unit * gradient of the trials `index`, time s in units (m,): q (m, k (d + 1)) -> the same shape."""
        part, negative = self.part(index), -unit[:, None]
        return lambda q: negative * part(q)[1]

    def loss(self, q: Array, index: np.ndarray) -> Array:
        """sum_i (f(x_i) - y_i)^2 of the trials `index` at q (m, k (d + 1)): (m,)."""
        return (
            (predict(self.network(q, index), self.x[index], self.phi) - self.y[index]) ** 2
        ).sum(-1)

    def join(self, dB: Array, dv: Array) -> Array:
        """Both as one vector per trial, 0 for the layer that does not move."""
        dB = np.zeros_like(dB) if self.tune == "last" else dB
        dv = np.zeros_like(dv) if self.tune == "first" else dv
        return np.concatenate([dB.reshape(len(dB), -1), dv], axis=1)

    def curvature(self, q: Array, index: np.ndarray) -> Array:
        """A bound of the Hessian where the loss is small (m,), at states q of the trials `index`.

        2 |X|^2 times |B|^2 if v moves, plus |v|^2 if B moves.
        """
        B, v = q[:, : -self.k], q[:, -self.k :]
        return self.stretch[index] * (
            (self.tune != "first") * (B * B).sum(1) + (self.tune != "last") * (v * v).sum(1)
        )

    def fastest(self) -> Array:
        """An estimate of the largest curvature on the way (trials,): at the start, and with X^T y learned."""
        at_start = self.curvature(self.q, np.arange(len(self)))
        learned = np.linalg.norm((self.y[:, None, :] @ self.x)[:, 0], axis=-1)
        return at_start + 4 * learned if self.tune == "all" else at_start


def _spread(net: Network, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """All as fresh float64 arrays with a leading axis of trials."""
    values = [checks.array(name, v) for name, v in (("B", net.B), ("v", net.v), ("x", x), ("y", y))]
    checks.shape("B", values[0], (None, None))
    checks.shape("x", values[2], (None, values[0].shape[-1]))
    checks.at_least("n", values[2].shape[-2], 1)
    checks.shape("v", values[1], (values[0].shape[-2],))
    checks.shape("y", values[3], (values[2].shape[-2],))
    ndims = (2, 1, 2, 1)
    leads = [v.shape[: v.ndim - n] for v, n in zip(values, ndims, strict=True)]
    lead = _common(leads)
    B, v, x, y = (
        np.broadcast_to(value, lead + value.shape[value.ndim - n :]).copy()
        for value, n in zip(values, ndims, strict=True)
    )
    return B, v, x, y


def _common(leads: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The leading axis of all, (trials,)."""
    try:
        lead = np.broadcast_shapes((1,), *leads)
    except ValueError:
        lead = ()
    if len(lead) != 1:
        raise ValueError(f"B, v, x, y must share one leading axis, of trials, not {leads}")
    return lead
