"""Many gradient flows on their way: what a solver integrates, and when each trial ends.

Without given times every trial has a time unit of its own, 1 / curvature, so that one step suits them all.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from theory import checks
from theory.networks import Array, Network, gradients

TUNE = ("first", "last", "all")
RUNNING, CONVERGED, MAX_TIME = "running", "converged", "max time"
STIFF, NON_FINITE = "stiff", "non-finite"
STATUSES = (CONVERGED, MAX_TIME, STIFF, NON_FINITE)
INNER = (0.25, 0.5, 0.75)  # shares of a step at which `watch` looks, beside its end
Watch = Callable[[Network, np.ndarray], Array]


class Trials:
    """State q (trials, k (d + 1)), B's entries and then v's, and all that is recorded on the way."""

    def __init__(
        self,
        net: Network,
        x: Array,
        y: Array,
        tune: str,
        phi: str,
        times: Array | None,
        tol: float,
        max_time: float,
        stop_below: Array | float,
        watch: Watch | None,
    ) -> None:
        B, v, self.x, self.y = _spread(net, x, y)
        self.tune, self.phi, self.watch, self.times = tune, phi, watch, times
        self.tol, self.max_time = tol, max_time
        self.k, self.d = B.shape[-2:]
        count = len(B)
        self.q = np.concatenate([B.reshape(count, -1), v], axis=1)
        self.unit = np.ones(count) if times is not None else 1 / _curvature(self.x, self.q)
        self.s = np.zeros(count)  # time in own units
        self.status = np.full(count, RUNNING, dtype=object)
        self.floor = np.broadcast_to(np.asarray(stop_below, dtype=float), (count,))
        self.lowest, self.highest = np.full(count, np.inf), np.full(count, -np.inf)
        self.kept = np.full((count, 0 if times is None else len(times), self.q.shape[1]), np.nan)

    def __len__(self) -> int:
        return len(self.q)

    def network(self, q: Array) -> Network:
        """B (..., k, d) and v (..., k) of states q (..., k (d + 1))."""
        size = self.k * self.d
        return Network(q[..., :size].reshape(*q.shape[:-1], self.k, self.d), q[..., size:])

    def velocity(self, index: np.ndarray) -> Callable[[float, Array], Array]:
        """dq/ds of the trials `index`, all in one flat vector, as scipy's solvers ask for it."""
        x, y, unit = self.x[index], self.y[index], self.unit[index, None]

        def rhs(_: float, flat: Array) -> Array:
            _, grad = gradients(self.network(flat.reshape(len(index), -1)), x, y, self.phi)
            dB, dv = grad.B.reshape(len(index), -1), grad.v
            dB = dB * 0 if self.tune == "last" else dB
            dv = dv * 0 if self.tune == "first" else dv
            return (-unit * np.concatenate([dB, dv], axis=1)).ravel()

        return rhs

    def begin(self, index: np.ndarray) -> None:
        """Look at the start, which may already be the end."""
        self._keep(index, -np.inf, 0.0, lambda s: self.q[index])
        self._see(index, self.q[index])
        self._end(index, self.velocity(index)(0, self.q[index].ravel()))

    def accept(self, index: np.ndarray, solver: Any) -> None:
        """Take over a step of `solver` for the trials `index`."""
        old, new = solver.t_old, solver.t
        self.q[index], self.s[index] = solver.y.reshape(len(index), -1), new
        due = self.times is not None and ((old < self.times) & (self.times <= new)).any()
        if due or self.watch:
            inside = solver.dense_output()
            self._keep(index, old, new, lambda s: inside(s).reshape(len(index), -1))
            for share in INNER if self.watch else ():
                self._see(index, inside(old + share * (new - old)).reshape(len(index), -1))
        self._see(index, self.q[index])
        self._end(index, solver.f)

    def running(self, index: np.ndarray) -> np.ndarray:
        return index[self.status[index] == RUNNING]

    def drop_non_finite(self, index: np.ndarray) -> bool:
        """Mark the trials whose velocity is not finite; whether there was one."""
        with np.errstate(over="ignore", invalid="ignore"):
            f = self.velocity(index)(0, self.q[index].ravel()).reshape(len(index), -1)
            bad = index[~np.isfinite((f * f).sum(1))]
        self.status[bad] = NON_FINITE
        return bool(bad.size)

    def _keep(
        self, index: np.ndarray, old: float, new: float, state: Callable[[float], Array]
    ) -> None:
        """Record the networks at the given times in (old, new]."""
        if self.times is not None:
            for i in np.flatnonzero((old < self.times) & (self.times <= new)):
                self.kept[index, i] = state(self.times[i])

    def _see(self, index: np.ndarray, q: Array) -> None:
        if self.watch:
            value = self.watch(self.network(q), index)
            self.lowest[index] = np.fmin(self.lowest[index], value)
            self.highest[index] = np.fmax(self.highest[index], value)

    def _end(self, index: np.ndarray, f: Array) -> None:
        """Give a status to the trials that have reached an end, with velocities f."""
        if self.times is not None:
            ended = self.s[index] >= self.times[-1]
            self.status[index[ended]] = MAX_TIME
            return
        speed = np.linalg.norm(f.reshape(len(index), -1), axis=1)
        self.status[index[self.s[index] * self.unit[index] >= self.max_time]] = MAX_TIME
        self.status[index[speed <= self.tol * np.linalg.norm(self.q[index], axis=1)]] = CONVERGED
        if np.isfinite(self.floor[index]).any():
            loss, _ = gradients(self.network(self.q[index]), self.x[index], self.y[index], self.phi)
            self.status[index[loss < self.floor[index]]] = CONVERGED


def _spread(net: Network, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """All as fresh float64 arrays with a leading axis of trials."""
    values = [checks.array(name, v) for name, v in (("B", net.B), ("v", net.v), ("x", x), ("y", y))]
    checks.shape("B", values[0], (None, None))
    checks.shape("x", values[2], (None, values[0].shape[-1]))
    checks.at_least("n", values[2].shape[-2], 1)
    checks.shape("v", values[1], (values[0].shape[-2],))
    checks.shape("y", values[3], (values[2].shape[-2],))
    ndims = (2, 1, 2, 1)
    lead = np.broadcast_shapes(
        (1,), *(v.shape[: v.ndim - n] for v, n in zip(values, ndims, strict=True))
    )
    if len(lead) != 1:
        raise ValueError(f"B, v, x, y may have one leading axis, of trials, not {len(lead)}")
    B, v, x, y = (
        np.broadcast_to(value, lead + value.shape[value.ndim - n :]).copy()
        for value, n in zip(values, ndims, strict=True)
    )
    return B, v, x, y


def _curvature(x: Array, q: Array) -> Array:
    """2 |X|^2 (|B|^2 + |v|^2) (trials,), never 0: a bound of the Hessian where the loss is small."""
    curvature = 2 * (x * x).sum((-2, -1)) * (q * q).sum(-1)
    return np.where(curvature > 0, curvature, 1.0)
