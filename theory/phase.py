"""How Theorem 1 depends on its numbers: shares of trials on a grid, and the mean excess by one number at a time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from theory.comparisons import known
from theory.forgetting import expected_excess
from theory.networks import Array
from theory.plans import Plan
from theory.theorem1 import Setting, draw, exact_n, run

QUANTITIES = ("n", "d_src", "d_orth", "sigma_B", "sigma_v")


class Diagram(NamedTuple):
    """The share of trials in which Eq. 2 holds, by `name` (rows) and n (columns), and a line to compare with."""

    name: str
    rows: Sequence[int]
    n: Sequence[int]
    shares: Array
    line: tuple[Sequence[int], Sequence[int], str]  # n, rows, what it is


def diagrams(base: Setting, plan: Plan) -> list[Diagram]:
    """By d_src and by d_orth, each against n."""
    by_src = phase_diagram(base, ("d_src", plan.d_src), ("n", plan.n), plan.cell_trials)
    by_orth = phase_diagram(base, ("d_orth", plan.d_orth), ("n", plan.n), plan.cell_trials)
    enough = [exact_n(count, 0.05) for count in plan.d_orth]
    return [
        Diagram("d_src", plan.d_src, plan.n, by_src, (plan.d_src, plan.d_src, "n = d_src")),
        Diagram("d_orth", plan.d_orth, plan.n, by_orth, (enough, plan.d_orth, "exact n, δ = 0.05")),
    ]


def phase_diagram(
    base: Setting, rows: tuple[str, Sequence[int]], columns: tuple[str, Sequence[int]], trials: int
) -> Array:
    """For each pair of values of two of `QUANTITIES` the share of trials in which Eq. 2 holds (rows, columns).

    Seeds are 0, 1, 2, ... by cell."""
    held = np.empty((len(rows[1]), len(columns[1])))
    for i, j in np.ndindex(held.shape):
        setting = _with(base, {rows[0]: rows[1][i], columns[0]: columns[1][j]})
        held[i, j] = run(setting, trials, seed=i * held.shape[1] + j).holds.mean()
    return held


class Curve(NamedTuple):
    """Relative expected excess (values, draws of truth and initialisation) by one quantity."""

    name: str
    values: Sequence[float]
    cost: Array


def cost_curves(base: Setting, plan: Plan, seed: int = 0) -> list[Curve]:
    """By n, d_src, d_orth and sigma_B, one at a time."""
    n = [count for count in plan.n if count >= base.d_orth]
    grids: dict[str, Sequence[float]] = {
        "n": n,
        "d_src": plan.d_src,
        "d_orth": [count for count in plan.d_orth if count <= base.n],
        "sigma_B": plan.sigma_B,
    }
    return [
        Curve(name, values, forgetting_cost(base, name, values, plan.paths, seed))
        for name, values in grids.items()
    ]


def forgetting_cost(
    base: Setting, name: str, values: Sequence[float], trials: int, seed: int = 0
) -> Array:
    """E over the data of full tuning's excess loss / E_trg y^2 at each value of one of `QUANTITIES`, for
    `trials` draws of truth and initialisation, shape (values, trials); for Gaussian inputs."""
    return np.stack([_expected(_with(base, {name: v}), trials, seed) for v in values])


def _expected(setting: Setting, trials: int, seed: int) -> Array:
    drawn = draw(replace(setting, n=1), trials, np.random.default_rng(seed))
    excess = expected_excess(known(drawn), setting.n, setting.d_src, setting.d_orth)
    return excess / drawn.scale


def _with(base: Setting, values: dict[str, Any]) -> Setting:
    """`base` with other numbers, and d as small as they allow."""
    unknown = set(values) - set(QUANTITIES)
    if unknown:
        raise ValueError(f"unknown quantity {sorted(unknown)}; legal: {list(QUANTITIES)}")
    return replace(base, **values, d=0)
