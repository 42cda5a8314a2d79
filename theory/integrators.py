"""Gradient flow by explicit methods of fixed step, whose order of convergence is known: a check on everything else.

    Euler, order 1:        q <- q + h F(q), which is gradient descent with step h
    Runge-Kutta, order 4:  q <- q + h (F_1 + 2 F_2 + 2 F_3 + F_4) / 6

For results use `theory.flow`, which adapts its steps and says how each trial ended.
"""

import numpy as np

from theory import checks
from theory.networks import Array, Network
from theory.problem import Field, Problem


def euler(F: Field, q: Array, h: float) -> Array:
    return q + h * F(q)


def runge_kutta(F: Field, q: Array, h: float) -> Array:
    """Source: Hairer, Norsett and Wanner, "Solving ordinary differential equations I", table II.1.2, left."""
    F1 = F(q)
    F2 = F(q + h / 2 * F1)
    F3 = F(q + h / 2 * F2)
    F4 = F(q + h * F3)
    return q + h / 6 * (F1 + 2 * F2 + 2 * F3 + F4)


METHODS = {"euler": euler, "runge-kutta": runge_kutta}


def integrate(
    net: Network,
    x: Array,
    y: Array,
    time: float,
    steps: int,
    method: str = "runge-kutta",
    tune: str = "all",
    phi: str = "linear",
) -> Network:
    """The flow at `time` > 0 by `steps` >= 1 equal steps: B (trials, k, d) and v (trials, k).

    Raises ValueError for arguments outside these ranges, FloatingPointError where the steps are too large for a
    finite result.
    """
    checks.between("time", time, 0, np.inf)
    checks.at_least("steps", steps, 1)
    checks.choice("method", method, METHODS)
    problem = Problem(net, x, y, tune, phi)
    every = np.arange(len(problem))
    F = problem.velocity(every, np.ones(len(problem)))
    q, h = problem.q, time / steps
    with np.errstate(over="raise", invalid="raise"):
        for _ in range(steps):
            q = METHODS[method](F, q, h)
    return problem.network(q, every)
