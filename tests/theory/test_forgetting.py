"""What full tuning forgets: the excess loss, its expectation, and the bound at all times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.comparisons import known, mean_excess
from theory.distributions import Shift, random_shift
from theory.exact import fit, full_limit, pretrained
from theory.flow import flow
from theory.forgetting import Known, excess_loss, expected_excess, lowest_possible
from theory.networks import Network, linear_loss
from theory.theorem1 import Setting, draw, lowest_on_path, outcome

BASE = Setting(n=10, d_src=12, d_orth=2)


@settings(deadline=None, max_examples=20)
@given(
    n=st.integers(4, 12),
    d_src=st.integers(2, 12),
    d_orth=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_excess_is_the_target_loss_where_the_data_span_what_is_new(n, d_src, d_orth, seed):
    drawn = draw(Setting(n, d_src, d_orth), 8, np.random.default_rng(seed))
    drawn = drawn.take(drawn.is_orth.sum(1) >= d_orth)
    data = fit(drawn.x, drawn.y)
    end = full_limit(drawn.pre, drawn.x, drawn.y, data)
    excess = excess_loss(end.v[:, 0], drawn.pre.v[:, 0], drawn.w, data, drawn.shift.Sigma_src)
    loss = linear_loss(end, drawn.w, drawn.shift.Sigma_trg)
    np.testing.assert_allclose(excess, loss, rtol=1e-6, atol=1e-12)


def test_nothing_is_lost_where_the_data_span_the_source():
    drawn = draw(Setting(n=40, d_src=5, d_orth=2), 20, np.random.default_rng(0))
    assert outcome(drawn).full.max() < 1e-20


def test_expected_excess_is_the_mean_over_draws():
    means = mean_excess(BASE, (6, 10, 16, 22), trials=4000, seed=3)
    assert (means.error < 0.1 * means.mean).all()  # else any expectation would pass
    assert np.abs(means.z).max() < 4


def test_expected_excess_is_zero_without_unseen_source():
    """With d_src = 1 one source example suffices; only draws without any forget."""
    one = Known(*(np.array([value]) for value in (1.0, 1.0, 1.0, 0.1)))
    n = 6
    without = 0.5**n / (1 - 0.5**n)  # P(m = 0 | at least one orthogonal)
    end = full_limit(
        Network(np.array([[[1.0, np.sqrt(0.1)]]]), np.ones((1, 1))),
        np.array([[[0.0, 1.0]]]),
        np.ones((1, 1)),
    )
    expected = without * (end.v[0, 0] - 1) ** 2 / 2
    assert expected_excess(one, n, 1, 1)[0] == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=6)
@given(d_src=st.integers(2, 10), d_orth=st.integers(1, 3), seed=st.integers(0, 99))
def test_no_path_falls_below_the_bound(d_src, d_orth, seed):
    """Lemma 2 along whole paths: at each of the solver's steps and within them."""
    drawn = draw(Setting(d_src + 1, d_src, d_orth), 8, np.random.default_rng(seed))
    assert (lowest_on_path(drawn) >= outcome(drawn).bound * (1 - 1e-8) - 1e-18).all()


def test_bound_holds_for_bases_that_are_not_orthonormal():
    rng = np.random.default_rng(0)
    Q = random_shift(rng, 10, 6, 2)
    shift = Shift(Q.S_src @ rng.standard_normal((6, 6)), Q.S_orth @ np.array([[2.0, 1], [0, 1]]))
    w, init = rng.standard_normal((20, 10)), rng.standard_normal((20, 1, 10))
    pre = pretrained(Network(0.2 * init, np.full((20, 1), 1.5)), shift.S_src, w)
    x, _ = shift.target(rng, 5, 20)
    y = (x @ w[..., None])[..., 0]
    bound = lowest_possible(pre, w, fit(x, y), shift.S_src, shift.S_orth)
    watched = flow(pre, x, y, watch=lambda net, i: linear_loss(net, w[i], shift.Sigma_trg))
    assert (bound > 0).all() and (watched.lowest >= bound * (1 - 1e-8)).all()


def test_bound_vanishes_at_the_coincidence_of_equation_23():
    """|P_orth b_init| = |P_orth w| / |v_pre|: v need not change, and the bound must not claim otherwise."""
    drawn = draw(BASE, 30, np.random.default_rng(0))
    drawn = drawn.take(drawn.is_orth.sum(1) >= BASE.d_orth)
    S, pre = drawn.shift.S_orth, drawn.pre
    w_orth = drawn.w @ S @ S.T
    b = pre.B[:, 0] - pre.B[:, 0] @ S @ S.T - w_orth / pre.v  # of the right length, wrong sign
    pre = Network(b[:, None], pre.v)
    data = fit(drawn.x, drawn.y)
    bound = lowest_possible(pre, drawn.w, data, drawn.shift.S_src, S)
    assert (bound < 1e-9 * drawn.scale).all()


def test_bound_is_the_minimum_found_by_brute_force():
    drawn = draw(BASE, 5, np.random.default_rng(1))
    data = fit(drawn.x, drawn.y)
    S_src, S_orth = drawn.shift.S_src, drawn.shift.S_orth
    bound = lowest_possible(drawn.pre, drawn.w, data, S_src, S_orth)
    for i in range(5):
        b, v, w, Q = drawn.pre.B[i, 0], drawn.pre.v[i, 0], drawn.w[i], data.Q[i]
        P = Q.T @ Q
        P_U = S_src @ S_src.T + S_orth @ S_orth.T - P
        a = v**2 - b @ P @ b
        grid = np.linspace(-6, 6, 400_001)
        grid = grid[grid**2 >= a]
        outside = ((grid[:, None] * (P_U @ b) - P_U @ w) ** 2).sum(1)
        inside = (np.abs(grid) * np.sqrt(grid**2 - a) - np.linalg.norm(P @ w)) ** 2
        assert bound[i] == pytest.approx((outside + inside).min() / 2, rel=1e-4)


def test_known_lengths_are_those_of_the_parts():
    drawn = draw(BASE, 3, np.random.default_rng(0))
    lengths = known(drawn)
    np.testing.assert_allclose(lengths.w_src + lengths.w_orth, (drawn.w**2).sum(1))


@pytest.mark.parametrize(
    ("n", "d_src", "d_orth", "named"), [(0, 1, 1, "n"), (5, 0, 1, "d_src"), (3, 4, 5, "n")]
)
def test_expected_excess_refuses(n, d_src, d_orth, named):
    with pytest.raises(ValueError, match=rf"^{named} must be an integer of at least"):
        expected_excess(Known(*np.ones((4, 1))), n, d_src, d_orth)
