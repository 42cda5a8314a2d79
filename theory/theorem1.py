"""Theorem 1: with few target examples, first-layer tuning ends at 0, full tuning is above 0 at all times.

For any delta in (0, 1) there are d, k, P_src, P_trg and n such that with probability at least 1 - delta (Eq. 2)

    L_trg(B_fl(inf), v_pre) = 0   and   L_trg(B_ft(t), v_ft(t)) > 0 for all t >= 0.

`find_setting` gives them, `run` draws trials. No path is simulated: the limits are those of `theory.exact`, and
"for all t" is the bound of `theory.forgetting`, which holds along the whole path.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from theory import checks
from theory.distributions import Shift, random_shift
from theory.exact import Fit, first_layer_limit, fit, full_limit, pretrained
from theory.flow import flow
from theory.forgetting import lowest_possible
from theory.networks import Array, Mask, Network, linear_loss, quadratic_form

Index = slice | NDArray[np.int64]
ALL = slice(None)
ZERO = 1e-20  # a loss below this share of E_trg y^2 is rounding: 1e-10 of the prediction
POSITIVE = 1e-16  # and one above this is not: 1e-8 of it


@dataclass(frozen=True)
class Setting:
    """d_src + d_orth <= d, n target examples, and the scales of the initialisation (k = 1).

    v ~ N(0, sigma_v^2), B_ij ~ N(0, sigma_B^2), w ~ N(0, I). The paper gives no scales.
    """

    n: int
    d_src: int
    d_orth: int
    d: int = 0  # d_src + d_orth if 0
    sigma_v: float = 1.0
    sigma_B: float = 0.2
    density: str = "gaussian"

    def __post_init__(self) -> None:
        for name in ("n", "d_src", "d_orth"):
            checks.at_least(name, getattr(self, name), 1)
        if not self.d:
            object.__setattr__(self, "d", self.d_src + self.d_orth)
        checks.at_least("d", self.d, self.d_src + self.d_orth)
        for name in ("sigma_v", "sigma_B"):
            checks.between(name, getattr(self, name), 0, np.inf)


@dataclass(frozen=True)
class Draw:
    """Trials of one setting: the shift, w (trials, d), initial and pre-trained networks, examples and labels."""

    shift: Shift
    w: Array
    init: Network
    pre: Network
    x: Array
    y: Array
    is_orth: Mask

    def take(self, index: Index | Mask) -> "Draw":
        """Some of the trials."""
        init, pre = (Network(net.B[index], net.v[index]) for net in (self.init, self.pre))
        rows = (self.w[index], init, pre, self.x[index], self.y[index], self.is_orth[index])
        return Draw(self.shift, *rows)

    @property
    def scale(self) -> Array:
        """E_trg y^2 (trials,): what losses are compared with."""
        return quadratic_form(self.w, self.shift.Sigma_trg)

    def target_loss(self, net: Network, index: Index = ALL) -> Array:
        """L_trg / E_trg y^2 (trials,), of the trials `index`: also what `flow` can watch."""
        loss = linear_loss(net, self.w[index], self.shift.Sigma_trg)
        return loss / self.scale[index]


@dataclass(frozen=True)
class Outcome:
    """Relative target losses (trials,): first layer and full tuning at their limits, and full tuning's bound
    over all times; the pre-trained network's for comparison."""

    before: Array
    first: Array
    full: Array
    bound: Array
    v_ratio: Array  # v_inf / v_pre of full tuning

    @property
    def holds(self) -> Mask:
        """Trials in which Eq. 2 holds."""
        return (self.first <= ZERO) & (self.bound > POSITIVE)


def bound_on_n(d_orth: int, delta: float) -> int:
    """Lemma 1: the least n above 10 d_orth log(2 / delta). Sufficient, and far from necessary."""
    checks.at_least("d_orth", d_orth, 1)
    checks.between("delta", delta, 0, 1)
    return math.floor(10 * d_orth * math.log(2 / delta)) + 1


def exact_n(d_orth: int, delta: float) -> int:
    """The least n with P(Bin(n, 1/2) >= d_orth) >= 1 - delta: the examples span the orthogonal subspace."""
    upper = bound_on_n(d_orth, delta)
    n = np.arange(d_orth, max(upper, d_orth) + 1)
    enough = binom.cdf(d_orth - 1, n, 0.5) <= delta
    return int(n[enough.argmax()])


def find_setting(delta: float, d_orth: int = 1) -> Setting:
    """A setting of Theorem 1 for this delta: n exact, and one more source dimension than examples (Lemma 2)."""
    n = exact_n(d_orth, delta)
    return Setting(n, n + 1, d_orth)


def draw(setting: Setting, trials: int, rng: Generator) -> Draw:
    """Bases shared by all trials; truth, initialisation and examples of each trial its own."""
    checks.at_least("trials", trials, 1)
    shift = random_shift(rng, setting.d, setting.d_src, setting.d_orth, setting.density)
    w = rng.standard_normal((trials, setting.d))
    B = setting.sigma_B * rng.standard_normal((trials, 1, setting.d))
    init = Network(B, setting.sigma_v * rng.standard_normal((trials, 1)))
    x, is_orth = shift.target(rng, setting.n, trials)
    y = (x @ w[..., None])[..., 0]
    return Draw(shift, w, init, pretrained(init, shift.S_src, w), x, y, is_orth)


def outcome(drawn: Draw) -> Outcome:
    """Both kinds of tuning on every trial, by the exact laws."""
    pre, shift = drawn.pre, drawn.shift
    data: Fit = fit(drawn.x, drawn.y)
    full = full_limit(pre, drawn.x, drawn.y, data)
    bound = lowest_possible(pre, drawn.w, data, shift.S_src, shift.S_orth)
    return Outcome(
        drawn.target_loss(pre),
        drawn.target_loss(first_layer_limit(pre, drawn.x, drawn.y, data)),
        drawn.target_loss(full),
        bound / drawn.scale,
        full.v[:, 0] / pre.v[:, 0],
    )


def target_path(drawn: Draw, times: Array, tune: str = "all") -> Array:
    """L_trg / E_trg y^2 (trials, times) along the flow that tunes `tune`."""
    path = flow(drawn.pre, drawn.x, drawn.y, tune, times=times).path
    assert path is not None  # times were given
    losses = [
        drawn.target_loss(Network(path.B[:, i], path.v[:, i])) for i in range(path.v.shape[1])
    ]
    return np.stack(losses, axis=1)


def lowest_on_path(drawn: Draw) -> Array:
    """The least L_trg / E_trg y^2 (trials,) that the flow of both layers passes."""
    return flow(drawn.pre, drawn.x, drawn.y, watch=drawn.target_loss).lowest


def run(setting: Setting, trials: int, seed: int = 0) -> Outcome:
    """`outcome` of `trials` trials drawn from `seed`."""
    return outcome(draw(setting, trials, np.random.default_rng(seed)))


@dataclass(frozen=True)
class Share:
    """How often a statement held, with the Clopper-Pearson interval of 95 %."""

    held: int
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.held / self.trials


def share(holds: Mask) -> Share:
    """Source: Clopper and Pearson (1934); scipy's exact binomial interval."""
    held, trials = int(np.count_nonzero(holds)), np.size(holds)
    interval = binomtest(held, trials).proportion_ci(0.95, method="exact")
    return Share(held, trials, float(interval.low), float(interval.high))


def row(delta: float, d_orth: int, trials: int, seed: int = 0) -> dict[str, float]:
    """Theorem 1 at one delta: its setting, and how often Eq. 2 held in `trials` trials."""
    setting = find_setting(delta, d_orth)
    result = run(setting, trials, seed)
    held = share(result.holds)
    return {
        "delta": delta,
        "d_orth": d_orth,
        "d_src": setting.d_src,
        "k": 1,
        "n exact": setting.n,
        "n of Lemma 1": bound_on_n(d_orth, delta),
        "trials": trials,
        "held": held.value,
        "low": held.low,
        "high": held.high,
        "median loss, both layers": float(np.median(result.full)),
    }
