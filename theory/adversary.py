"""The strongest opponents of a lower bound on the target loss of an instance.

For the last layer the problem is convex, and least squares is its global optimum. For the first layer it is
not: L-BFGS is started from many places, and what it finds is an upper bound on the minimum.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy.optimize import minimize

from theory import checks
from theory.instances import Instance, reflected_input, reflected_output
from theory.networks import Array, Network, gradients
from theory.propositions import first_layer_bound, last_layer_bound

Objective = Callable[[Array], tuple[float, Array]]  # value and gradient at a point (m,)


class Attack(NamedTuple):
    """The best network found, its target loss, and the losses that all starts ended in, ascending."""

    net: Network
    loss: float
    losses: Array


def attack_last_layer(instance: Instance) -> Attack:
    """min_v L_trg(B_pre, v) and the v of smallest norm that attains it: the global optimum."""
    floats = instance.floats()
    v = np.linalg.lstsq(floats.features, floats.y_trg, rcond=None)[0]
    loss = float(floats.loss(floats.B_pre, v))
    return Attack(Network(floats.B_pre, v), loss, np.array([loss]))


def attack_first_layer(instance: Instance, restarts: int = 20, seed: int = 0) -> Attack:
    """The smallest L_trg(B, v_pre) that L-BFGS finds from B_pre and from `restarts` random B.

    Random starts have the entries' root mean square of B_pre, times 2^u with u uniform on [-3, 3].
    """
    floats, rng = instance.floats(), _generator(restarts, seed)
    x, y, v, n = floats.x_trg, floats.y_trg, floats.v_pre, len(floats.x)

    def objective(point: Array) -> tuple[float, Array]:
        total, gradient = gradients(Network(point.reshape(floats.k, floats.d), v), x, y, "relu")
        return float(total) / n, gradient.B.ravel() / n

    size = np.sqrt((floats.B_pre**2).mean())
    random = [
        2 ** rng.uniform(-3, 3) * size * rng.standard_normal(floats.B_pre.shape)
        for _ in range(restarts)
    ]
    point, losses = descend(objective, [floats.B_pre, *random])
    net = Network(point.reshape(floats.k, floats.d), v)
    return Attack(net, float(floats.loss(*net)), losses)


def attack_counterexamples(
    sizes: Iterable[tuple[int, int]], seeds: Iterable[int], restarts: int = 20
) -> pd.DataFrame:
    """Both counterexamples under attack: a row per proposition, size (k, d) and seed.

    `bound` is E y_trg^2 in exact arithmetic (a Fraction), `attack` the best loss found, `ratio` their quotient:
    at least 1 up to rounding.
    """
    rows = []
    for (k, d), seed in itertools.product(sizes, seeds):
        input_, output = reflected_input(k, d, seed), reflected_output(k, d, seed)
        tried = (
            (input_, "last", last_layer_bound(input_), attack_last_layer(input_)),
            (
                output,
                "first",
                first_layer_bound(output),
                attack_first_layer(output, restarts, seed),
            ),
        )
        for instance, layer, bound, attack in tried:
            about = {"instance": instance.name, "tuned layer": layer, "k": k, "d": d, "seed": seed}
            result = {"bound": bound, "attack": attack.loss, "ratio": attack.loss / float(bound)}
            rows.append(about | result)
    return pd.DataFrame(rows)


def descend(objective: Objective, starts: Iterable[Array]) -> tuple[Array, Array]:
    """L-BFGS from every start: the best point (m,), and the values of all, ascending (restarts,)."""
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-9}
    found = [
        minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        for start in starts
    ]
    best = min(found, key=lambda result: result.fun)
    return best.x, np.sort([result.fun for result in found])


def _generator(restarts: int, seed: int) -> Generator:
    checks.at_least("restarts", restarts, 0)
    checks.at_least("seed", seed, 0)
    return np.random.default_rng(seed)
