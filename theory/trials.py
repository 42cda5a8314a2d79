"""Many gradient flows on their way: what a solver integrates, and when each trial ends.

Without given times every trial has a time unit of its own, 1 / curvature, so that one step suits them all.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from theory.networks import Array
from theory.problem import Problem, Watch

RUNNING, CONVERGED, MAX_TIME = "running", "converged", "max time"
STIFF, NON_FINITE = "stiff", "non-finite"
STATUSES = (CONVERGED, MAX_TIME, STIFF, NON_FINITE)
INNER = (0.25, 0.5, 0.75)  # shares of a step at which `watch` looks, beside its end


class Trials:
    """The states q of all trials of a problem, and all that is recorded on the way."""

    def __init__(
        self,
        problem: Problem,
        times: Array | None,
        tol: float,
        max_time: float,
        stop_below: Array | float,
        watch: Watch | None,
    ) -> None:
        self.problem, self.times, self.tol, self.max_time = problem, times, tol, max_time
        self.watch, self.q, count = watch, problem.q, len(problem)
        self.natural = _inverse(problem.fastest())
        self.unit = np.ones(count) if times is not None else self.natural
        self.s = np.zeros(count)  # time in own units
        self.status = np.full(count, RUNNING, dtype=object)
        self.floor = _one_each("stop_below", stop_below, count)
        self.lowest, self.highest = np.full(count, np.inf), np.full(count, -np.inf)
        self.kept = np.full((count, 0 if times is None else len(times), self.q.shape[1]), np.nan)

    def __len__(self) -> int:
        return len(self.q)

    def velocity(self, index: np.ndarray) -> Callable[[float, Array], Array]:
        """dq/ds of the trials `index`, all in one flat vector, as scipy's solvers ask for it."""
        field = self.problem.velocity(index, self.unit[index])
        return lambda _, flat: field(flat.reshape(len(index), -1)).ravel()

    def pace(self, index: np.ndarray) -> float:
        """The shortest natural time unit of the trials `index`, in the units that they are integrated in."""
        return float((self.natural[index] / self.unit[index]).min())

    def begin(self, index: np.ndarray) -> None:
        """Look at the start, which may already be the end."""
        self._keep(index, -np.inf, 0.0, lambda s: self.q[index])
        self._see(index, self.q[index])
        if self.drop_non_finite(index):
            index = self.running(index)
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
        f = solver.f if hasattr(solver, "f") else solver.fun(new, solver.y)  # LSODA keeps none
        self._end(index, f)

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
            value = self.watch(self.problem.network(q, index), index)
            self.lowest[index] = np.fmin(self.lowest[index], value)
            self.highest[index] = np.fmax(self.highest[index], value)

    def _end(self, index: np.ndarray, f: Array) -> None:
        """Give a status to the trials that have reached an end, with velocities f."""
        if self.times is not None:
            ended = self.s[index] >= self.times[-1]
            self.status[index[ended]] = MAX_TIME
            return
        q, unit = self.q[index], self.unit[index]
        speed = np.linalg.norm(f.reshape(len(index), -1), axis=1) / unit
        rest = self.tol * self.problem.curvature(q, index) * np.linalg.norm(q, axis=1)
        self.status[index[self.s[index] * unit >= self.max_time]] = MAX_TIME
        self.status[index[speed <= rest]] = CONVERGED
        if np.isfinite(self.floor[index]).any():
            self.status[index[self.problem.loss(q, index) < self.floor[index]]] = CONVERGED


def _inverse(rate: Array) -> Array:
    """1 / rate, and 1 where that is not a time."""
    return np.divide(1, rate, out=np.ones_like(rate), where=np.isfinite(rate) & (rate > 0))


def _one_each(name: str, value: Array | float, count: int) -> Array:
    """A number, or one per trial, as (trials,)."""
    result = np.asarray(value, dtype=float)
    if result.shape not in ((), (1,), (count,)) or np.isnan(result).any():
        raise ValueError(f"{name} must be a number or one per trial, {count}, not {value}")
    return np.broadcast_to(result, (count,))
