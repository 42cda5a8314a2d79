"""What breaks Theorem 1 when the algorithm is not gradient flow: large steps, momentum, Adam, weight decay.

Steps are given as a share of the stability limit 2 / lambda of first-layer tuning, lambda = 2 |v|^2 |X|_2^2 the
largest eigenvalue of its Hessian, trial by trial.
"""

from collections.abc import Sequence

import numpy as np

from theory.breaks import Break
from theory.descent import Rule, adam, descend, gradient_descent, momentum
from theory.networks import Array
from theory.plans import Plan
from theory.theorem1 import Draw, Setting, draw, outcome

STEPS = 2500
Ends = tuple[Array, Array]  # relative target losses of first-layer and of full tuning (trials,)


def all_breaks(base: Setting, plan: Plan) -> list[Break]:
    """Every break of this file, on the same draws."""
    drawn = draw(base, plan.wide, np.random.default_rng(0))
    return [
        large_steps(drawn, (0.1, 0.3, 0.5, 0.7, 0.9, 1.1)),
        algorithms(drawn),
        weight_decay(drawn, (0.0, 1e-4, 1e-3, 1e-2, 1e-1)),
    ]


def large_steps(drawn: Draw, shares: Sequence[float]) -> Break:
    """Gradient descent, by its step; a trial that diverges shows where it was last finite."""
    ends = [_ends(drawn, gradient_descent(_step(drawn, share))) for share in shares]
    return _break(
        "large steps",
        "step / stability limit",
        np.array(shares),
        ends,
        "Larger steps make full tuning forget less; beyond the limit the first layer diverges; a free v shrinks.",
    )


def algorithms(drawn: Draw) -> Break:
    """Flow against three algorithms with a fixed step."""
    half = _step(drawn, 0.5)
    rules = (gradient_descent(half), momentum(half * 0.1, 0.9), adam(0.01))
    exact = outcome(drawn)
    return _break(
        "other algorithms",
        f"{STEPS:,} steps of a fixed size",
        np.arange(4.0),
        [(exact.first, exact.full), *(_ends(drawn, rule) for rule in rules)],
        "Momentum stays in the span of the data; Adam leaves it, and first-layer tuning forgets as well.",
        ticks=("flow", "gradient\ndescent", "momentum", "Adam"),
    )


def weight_decay(drawn: Draw, decays: Sequence[float]) -> Break:
    """Gradient descent with an L2 penalty."""
    step = _step(drawn, 0.5)
    ends = [_ends(drawn, gradient_descent(step), decay) for decay in decays]
    return _break(
        "weight decay",
        "L2 weight decay",
        np.array(decays),
        ends,
        "Weight decay shrinks B where no example holds it: the first layer forgets too, and soon loses to full tuning.",
        logarithmic=True,
    )


def _ends(drawn: Draw, rule: Rule, decay: float = 0.0) -> Ends:
    first, full = (
        drawn.target_loss(
            descend(drawn.pre, drawn.x, drawn.y, rule, STEPS, tune, weight_decay=decay).net
        )
        for tune in ("first", "all")
    )
    return first, full


def _step(drawn: Draw, share: float) -> Array:
    """`share` of 2 / lambda (trials,)."""
    largest = np.linalg.norm(drawn.x, ord=2, axis=(-2, -1))
    return share / ((drawn.pre.v**2).sum(-1) * largest**2)


def _break(
    title: str,
    label: str,
    values: Array,
    ends: Sequence[Ends],
    sentence: str,
    ticks: Sequence[str] = (),
    logarithmic: bool = False,
) -> Break:
    first, full = (np.stack(losses) for losses in zip(*ends, strict=True))
    return Break(title, label, values, first, full, sentence, ticks, logarithmic)
