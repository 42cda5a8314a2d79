"""The forgetting law held against integrated flows, and its expectation against draws."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from theory.exact import fit, full_limit
from theory.flow import flow
from theory.forgetting import Known, excess_loss, expected_excess
from theory.networks import Array, Network
from theory.theorem1 import Draw, Setting, draw


class Law(NamedTuple):
    """Each (trials,): full tuning's relative target loss by the law and by the flow, v_inf / v_pre by the law,
    and the demand |P_orth w| / (|v_pre| |P_orth b_pre|), above 1 where v grows. error: largest relative
    difference of v_inf between both."""

    exact: Array
    integrated: Array
    v_ratio: Array
    demand: Array
    error: float


def check_law(drawn: Draw) -> Law:
    """Law and flow on the same trials, those whose data span the orthogonal subspace."""
    spans = drawn.is_orth.sum(1) >= drawn.shift.d_orth
    drawn = drawn.take(spans)
    exact, end = full_limit(drawn.pre, drawn.x, drawn.y), flow(drawn.pre, drawn.x, drawn.y)
    v_pre, S = drawn.pre.v[:, 0], drawn.shift.S_orth
    b_orth = np.linalg.norm(drawn.pre.B[:, 0] @ S, axis=1)
    return Law(
        drawn.target_loss(exact),
        drawn.target_loss(end.net),
        exact.v[:, 0] / v_pre,
        np.linalg.norm(drawn.w @ S, axis=1) / (np.abs(v_pre) * b_orth),
        float(np.abs(end.net.v / exact.v - 1).max()),
    )


class Means(NamedTuple):
    """Each (n values,): excess loss / E_trg y^2, drawn and expected, for one truth and initialisation.

    z: (mean - expected) / error."""

    n: Sequence[int]
    mean: Array
    error: Array
    expected: Array

    @property
    def z(self) -> Array:
        return (self.mean - self.expected) / self.error


def mean_excess(base: Setting, n: Sequence[int], trials: int, seed: int = 0) -> Means:
    """The mean over `trials` draws of n examples each, given that they span the orthogonal subspace.

    Only n of at least 2 d_orth are used: with fewer the event is rare.
    """
    counts = [count for count in n if count >= 2 * base.d_orth]
    rows = [_mean_excess(replace(base, n=count), trials, seed) for count in counts]
    return Means(counts, *np.array(rows).T)


def _mean_excess(setting: Setting, trials: int, seed: int) -> tuple[float, float, float]:
    rng = np.random.default_rng(seed)
    one = draw(setting, 1, rng)
    shift, w, scale = one.shift, one.w[0], one.scale[0]
    x, is_orth = shift.target(rng, setting.n, trials)
    x = x[is_orth.sum(1) >= setting.d_orth]
    y = x @ w
    data = fit(x, y)
    v = one.pre.v[0, 0]
    end = full_limit(Network(one.pre.B[0], one.pre.v[0]), x, y, data)
    excess = excess_loss(end.v[:, 0], v, w, data, shift.Sigma_src) / scale
    expected = expected_excess(known(one), setting.n, setting.d_src, setting.d_orth) / scale
    return excess.mean(), excess.std(ddof=1) / np.sqrt(len(excess)), expected[0]


def known(drawn: Draw) -> Known:
    """What the expectation needs of each trial, for orthonormal bases."""
    S_src, S_orth = drawn.shift.S_src, drawn.shift.S_orth
    parts = (drawn.w @ S_src, drawn.w @ S_orth, drawn.pre.B[:, 0] @ S_orth)
    return Known(drawn.pre.v[:, 0], *((part**2).sum(-1) for part in parts))
