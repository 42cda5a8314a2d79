"""Phase diagrams, costs, plans, and the comparisons with integrated flows."""

from dataclasses import replace

import numpy as np
import pytest

from theory.comparisons import check_law, mean_excess
from theory.phase import cost_curves, diagrams, forgetting_cost, phase_diagram
from theory.plans import PLANS, get_plan
from theory.theorem1 import Setting, draw

BASE = Setting(n=10, d_src=12, d_orth=2)
SMALL = replace(
    PLANS["embedded"],
    n=(4, 12),
    d_src=(4, 12),
    d_orth=(1, 2),
    sigma_B=(0.1, 1.0),
    cell_trials=40,
    paths=40,
)


def test_theorem_holds_between_too_few_examples_and_too_many():
    shares = phase_diagram(BASE, ("d_src", (4, 12)), ("n", (2, 10, 60)), trials=100)
    assert shares[1, 0] < 0.4  # two examples rarely are both orthogonal
    assert shares[1, 1] > 0.95
    assert shares[0, 2] == shares[1, 2] == 0  # the source is spanned: nothing is forgotten


def test_every_diagram_and_curve_has_its_grid():
    for diagram in diagrams(BASE, SMALL):
        assert diagram.shares.shape == (len(diagram.rows), len(diagram.n))
        assert len(diagram.line[0]) == len(diagram.line[1])
    for curve in cost_curves(BASE, SMALL):
        assert curve.cost.shape == (len(curve.values), SMALL.paths)
        assert (curve.cost >= 0).all()


def test_more_data_forget_less():
    cost = forgetting_cost(BASE, "n", (4, 10, 30), trials=50).mean(1)
    assert cost[0] > cost[1] > cost[2] > 0


def test_law_and_flow_agree_and_v_grows_when_asked():
    law = check_law(draw(BASE, 60, np.random.default_rng(0)))
    assert law.error < 1e-8
    np.testing.assert_allclose(law.exact, law.integrated, rtol=1e-5, atol=1e-14)
    assert ((law.v_ratio > 1) == (law.demand > 1)).all()
    assert 0 < (law.v_ratio > 1).mean() < 1  # both kinds occur


def test_mean_excess_leaves_out_counts_that_rarely_span():
    assert mean_excess(BASE, (2, 3, 4, 5), trials=50).n == [4, 5]


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown quantity .*'m'.*legal: .*'d_src'"):
        forgetting_cost(BASE, "m", (1,), trials=2)
    with pytest.raises(ValueError, match=r"profile must be one of .*not 'cifar'"):
        get_plan("cifar")
