"""What people run instead of gradient flow: steps of a fixed size, with momentum or Adam, with weight decay.

    q <- q + rule(gradient of L(q) + weight_decay q),   L(B, v) = sum_i (v^T phi(B x_i) - y_i)^2

for the same problems as `theory.flow`. Gradient descent is the flow's Euler method: after m steps of size h it is
O(h) away from the flow at time m h. What the flow conserves, v v^T - B B^T, drifts by O(h); momentum with small
steps follows the flow but for a start-up that costs O(h) too; Adam and weight decay conserve nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory import checks
from theory.networks import Array, Mask, Network
from theory.problem import Problem, Watch

DONE, DIVERGED = "done", "diverged"
GROWTH = (
    1e6  # a loss above this multiple of the start's (or of |y|^2, if larger) counts as diverged
)
Rule = Callable[[Array, Any], tuple[Array, Any]]  # (gradient, state or None) -> (change, state)


@dataclass(frozen=True)
class Descent:
    """Where each trial ended; leading axis trials.

    status: "done", or "diverged": the loss or its gradient overflowed, or the loss grew beyond GROWTH. A diverged
        trial stays where it last was well. steps: those taken up to there. loss: the training loss there.
    lowest, highest: least and largest value of `watch` at the start and after all these steps; infinite without it.
    history: `watch` at the start and after each step (steps + 1, trials), NaN once diverged; None if not kept.
    """

    net: Network
    status: np.ndarray
    steps: np.ndarray
    loss: Array
    lowest: Array
    highest: Array
    history: Array | None


def gradient_descent(step: ArrayLike) -> Rule:
    """change = -step g; step > 0, a number or one per trial (trials,)."""
    h = _column("step", step)
    return lambda g, _: (-_each(h, g) * g, None)


def momentum(step: ArrayLike, beta: float = 0.9) -> Rule:
    """m <- beta m + g, change = -step m; 0 <= beta < 1. Moves like gradient descent with step / (1 - beta).

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964), the heavy ball.
    """
    h, beta = _column("step", step), _share("beta", beta)

    def rule(g: Array, m: Array | None) -> tuple[Array, Array]:
        m = g if m is None else beta * m + g
        return -_each(h, g) * m, m

    return rule


def adam(step: ArrayLike, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Rule:
    """change = -step m / (sqrt(s) + eps), the bias-corrected means m of g and s of g^2; eps > 0.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """
    h, beta1, beta2 = _column("step", step), _share("beta1", beta1), _share("beta2", beta2)
    checks.between("eps", eps, 0, np.inf)

    def rule(g: Array, state: tuple[int, Array, Array] | None) -> tuple[Array, Any]:
        t, m, s = state or (0, np.zeros_like(g), np.zeros_like(g))
        t, m, s = t + 1, beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g * g
        change = -_each(h, g) * (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + eps)
        return change, (t, m, s)

    return rule


def descend(
    net: Network,
    x: Array,
    y: Array,
    rule: Rule,
    steps: int,
    tune: str = "all",
    phi: str = "linear",
    weight_decay: float = 0.0,
    watch: Watch | None = None,
    history: bool = False,
) -> Descent:
    """Take `steps` >= 0 steps of `rule` from `net`, all trials at once.

    net, x, y, tune: as in `theory.problem.Problem`.
    weight_decay: >= 0, adds weight_decay q to the gradient of the layer that moves.
    watch: (networks of all trials, the indices of these trials) -> one value each, e.g. the target loss.
    history: whether to keep every value of `watch`.

    Raises ValueError for arguments of other shapes or outside these ranges.
    """
    checks.at_least("steps", steps, 0)
    if not 0 <= weight_decay < np.inf:
        raise ValueError(f"weight_decay must be finite and at least 0, not {weight_decay}")
    if history and watch is None:
        raise ValueError("history=True keeps the values of watch, so watch must be given, not None")
    path = _Path(Problem(net, x, y, tune, phi), rule, weight_decay, watch)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = [path.look(), *(path.step() for _ in range(steps))]
    seen = np.stack(rows)
    return Descent(
        path.problem.network(path.q, path.all),
        np.where(path.well, DONE, DIVERGED),
        path.taken,
        path.loss,
        np.fmin.reduce(seen, initial=np.inf),
        np.fmax.reduce(seen, initial=-np.inf),
        seen if history else None,
    )


class _Path:
    """The state of all trials between two steps; those that are not `well` stay where they are."""

    def __init__(
        self, problem: Problem, rule: Rule, weight_decay: float, watch: Watch | None
    ) -> None:
        self.problem, self.rule, self.watch = problem, rule, watch
        self.q, self.memory, self.all = problem.q, None, np.arange(len(problem))
        self.value = problem.part(self.all)
        self.decay = weight_decay * problem.moves
        with np.errstate(over="ignore", invalid="ignore"):
            self.loss, self.g = self.value(self.q)
            self.limit = GROWTH * np.maximum(self.loss, (problem.y**2).sum(-1))
        self.well = _finite(self.loss, self.g)
        self.taken = np.zeros(len(self.q), dtype=int)

    def step(self) -> Array:
        """One step of every trial, and what `watch` sees after it (trials,)."""
        change, self.memory = self.rule(self.g + self.decay * self.q, self.memory)
        q = self.q + change * self.problem.moves
        loss, g = self.value(q)
        self.well = self.well & _finite(loss, g) & (loss <= self.limit)
        self.q = np.where(self.well[:, None], q, self.q)
        self.g = np.where(self.well[:, None], g, self.g)
        self.loss = np.where(self.well, loss, self.loss)
        self.taken = self.taken + self.well
        return self.look()

    def look(self) -> Array:
        """What `watch` sees now (trials,), NaN of what has diverged."""
        if self.watch is None:
            return np.full(len(self.q), np.nan)
        return np.where(
            self.well, self.watch(self.problem.network(self.q, self.all), self.all), np.nan
        )


def _finite(loss: Array, g: Array) -> Mask:
    return np.isfinite(loss) & np.isfinite(g).all(axis=1)


def _column(name: str, value: ArrayLike) -> Array:
    """A number or one per trial, all above 0, as a column."""
    column = checks.array(name, value)
    if column.ndim > 1 or not column.size or (column <= 0).any():
        raise ValueError(f"{name} must be above 0, a number or one per trial, not {value!r}")
    return column.reshape(-1, 1)


def _each(h: Array, g: Array) -> Array:
    """The column h where it fits the gradients g (trials, ...)."""
    if len(h) not in (1, len(g)):
        raise ValueError(f"step holds {len(h)} values for {len(g)} trials; give one, or one each")
    return h


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, not {value}")
    return float(value)
