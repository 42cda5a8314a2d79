"""What breaks Theorem 1, one assumption at a time: enough data, wider networks, noise, rectifiers, early stopping.

Each function returns a `Break`: relative target losses of first-layer and of full tuning, over values of what
changes. See `theory.discrete_breaks` for what changes the algorithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from theory.exact import first_layer_limit, fit, full_limit
from theory.flow import flow
from theory.networks import Array, Network, predict, relu_loss
from theory.plans import Plan
from theory.theorem1 import Draw, Setting, draw, lowest_on_path, outcome


@dataclass(frozen=True)
class Break:
    """`first` and `full` (values, trials): L_trg / E_trg y^2 at the end of tuning."""

    title: str
    label: str  # of the axis of `values`
    values: Array
    first: Array
    full: Array
    sentence: str
    ticks: Sequence[str] = ()  # names of the values, where they are not numbers
    logarithmic: bool = False


def enough_data(base: Setting, n: Sequence[int], trials: int) -> Break:
    results = [outcome(_draw(replace(base, n=count), trials)) for count in n]
    return Break(
        "enough data",
        "target examples n",
        np.array(n, dtype=float),
        np.stack([r.first for r in results]),
        np.stack([r.full for r in results]),
        f"From about 2 d_src = {2 * base.d_src} examples on they span the source too, and nothing is lost.",
    )


def label_noise(base: Setting, sigma: Sequence[float], trials: int) -> Break:
    """Labels y + sigma sqrt(E_trg y^2) times a standard normal; the target loss is against the clean labels."""
    drawn, ends = _draw(base, trials), []
    noise = np.random.default_rng(1).standard_normal(drawn.y.shape) * np.sqrt(drawn.scale)[:, None]
    for value in sigma:
        y = drawn.y + value * noise
        data = fit(drawn.x, y)
        ends.append([law(drawn.pre, drawn.x, y, data) for law in (first_layer_limit, full_limit)])
    return Break(
        "label noise",
        "noise, share of the labels' size",
        np.array(sigma),
        np.stack([drawn.target_loss(first) for first, _ in ends]),
        np.stack([drawn.target_loss(full) for _, full in ends]),
        "First-layer tuning fits noise as well as signal: its loss is no longer 0, and the gap closes.",
        logarithmic=True,
    )


def wider(base: Setting, k: Sequence[int], trials: int) -> Break:
    """k hidden units, v_i ~ N(0, sigma_v^2 / k); pre-trained by the flow on the source's population loss.

    Full tuning's loss is the lowest on its path, first-layer tuning's its limit.
    """
    pairs = [_wide(_draw(base, trials), width) for width in k]
    return Break(
        "wider networks",
        "hidden units k",
        np.array(k, dtype=float),
        np.stack([first for first, _ in pairs]),
        np.stack([full for _, full in pairs]),
        "First-layer tuning ends at 0 for any k; full tuning stays above 0, though the proof is for k = 1.",
    )


def _wide(drawn: Draw, k: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(k)
    trials, d = drawn.w.shape
    v_scale, B_scale = np.abs(drawn.init.v).std(), drawn.init.B.std()
    init = Network(
        B_scale * rng.standard_normal((trials, k, d)),
        v_scale * rng.standard_normal((trials, k)) / np.sqrt(k),
    )
    x = drawn.shift.S_src.T
    pre = flow(init, x, drawn.w @ drawn.shift.S_src).net
    tuned = flow(pre, drawn.x, drawn.y, watch=drawn.target_loss)
    return drawn.target_loss(first_layer_limit(pre, drawn.x, drawn.y)), tuned.lowest


def early_stopping(base: Setting, trials: int) -> Break:
    """Full tuning's limit, its lowest point on the path, and the bound that no stopping time passes."""
    drawn = _draw(base, trials)
    result = outcome(drawn)
    return Break(
        "early stopping",
        "both layers stopped",
        np.arange(3.0),
        np.stack([result.first] * 3),
        np.stack([result.full, lowest_on_path(drawn), result.bound]),
        "The best moment to stop, known only to an oracle, helps a little; the bound keeps it above 0.",
        ticks=("at the end", "at the best\nmoment", "bound, at\nno time below"),
    )


def rectified(base: Setting, n: Sequence[int], trials: int, k: int = 4) -> Break:
    """ReLU networks of k units that are right on the source: B_pre agrees with B* on the source and is random
    on the orthogonal subspace, v_pre = v*. Losses are exact (arc-cosine kernel), for orthonormal bases; flows
    stop at a gradient of 1e-7 or after 3,000 steps."""
    pairs = [_rectified(_draw(replace(base, n=count), trials), k, base.sigma_B) for count in n]
    return Break(
        "rectifiers",
        "target examples n",
        np.array(n, dtype=float),
        np.stack([first for first, _ in pairs]),
        np.stack([full for _, full in pairs]),
        "Examples that span a subspace do not determine a ReLU network on it: the first layer is ahead, but not at 0.",
    )


def _rectified(drawn: Draw, k: int, sigma_B: float) -> tuple[Array, Array]:
    rng = np.random.default_rng(k)
    trials, d = drawn.w.shape
    true = Network(
        rng.standard_normal((trials, k, d)), rng.choice([-1.0, 1.0], (trials, k)) / np.sqrt(k)
    )
    P_src, P_orth = (S @ S.T for S in (drawn.shift.S_src, drawn.shift.S_orth))
    random = sigma_B * rng.standard_normal((trials, k, d))
    pre = Network(true.B @ P_src + random @ P_orth, true.v)
    y = predict(true, drawn.x, "relu")

    def tuned_loss(tune: str) -> Array:
        end = flow(pre, drawn.x, y, tune, "relu", rtol=1e-3, tol=1e-7, stiff=False).net
        loss, scale = (
            relu_loss(net, true, P_src) + relu_loss(net, true, P_orth)
            for net in (end, Network(end.B, 0 * end.v))
        )
        return loss / scale

    return tuned_loss("first"), tuned_loss("all")


def _draw(setting: Setting, trials: int) -> Draw:
    return draw(setting, trials, np.random.default_rng(0))


def all_breaks(base: Setting, plan: Plan) -> list[Break]:
    """Every break of this file, at the size of a plan."""
    return [
        enough_data(base, plan.n, plan.paths),
        early_stopping(base, plan.paths),
        wider(base, plan.k, plan.wide),
        rectified(base, plan.n_relu, plan.wide),
        label_noise(base, (0.0, 0.001, 0.01, 0.1, 1.0), plan.paths),
    ]
