"""Limits in closed form, held against the flow, exact arithmetic and SymPy."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from instances_at_random import distance, instance

from theory.distributions import random_shift
from theory.exact import first_layer_limit, fit, full_limit, last_layer_limit, pretrained
from theory.flow import flow
from theory.networks import Network, gradients, linear_loss

SIZES = {"n": st.integers(1, 7), "d": st.integers(1, 7), "seed": st.integers(0, 999)}
few = settings(deadline=None, max_examples=15)


def follow(case, **options):
    end = flow(*case, **options)
    assert set(end.status) == {"converged"}
    return end.net


@few
@given(k=st.integers(1, 4), noise=st.sampled_from([0.0, 0.5]), **SIZES)
def test_first_layer_is_the_limit_of_the_flow(n, d, k, noise, seed):
    case = instance(seed, n=n, d=d, k=k, noise=noise)
    assert distance(first_layer_limit(*case), follow(case, tune="first")) < 1e-8


@few
@given(k=st.integers(1, 4), phi=st.sampled_from(["linear", "relu"]), **SIZES)
def test_last_layer_is_the_limit_of_the_flow(n, d, k, phi, seed):
    """Of random features the smallest singular value may be tiny, and the flow slow: the loss is compared."""
    case = instance(seed, n=n, d=d, k=k, phi=phi, noise=0.5)
    exact, end = last_layer_limit(*case, phi=phi), follow(case, tune="last", phi=phi)
    loss, grad = gradients(exact, case.x, case.y, phi)
    np.testing.assert_allclose(loss, gradients(end, case.x, case.y, phi)[0], atol=1e-9)
    assert np.abs(grad.v).max() < 1e-9


@pytest.mark.parametrize("phi", ["linear", "relu"])
def test_last_layer_keeps_what_the_data_do_not_see(phi):
    """Features of well separated singular values; k > n leaves directions of v free."""
    case = instance(3, n=2, d=6, k=5, phi=phi)
    assert distance(last_layer_limit(*case, phi), follow(case, tune="last", phi=phi)) < 1e-8


@few
@given(noise=st.sampled_from([0.0, 0.5]), **SIZES)
def test_forgetting_law_is_the_limit_of_the_flow(n, d, noise, seed):
    case = instance(seed, n=n, d=d, noise=noise)
    assert distance(full_limit(*case), follow(case)) < 1e-8


@pytest.mark.parametrize("orthonormal", [True, False])
def test_pretraining_from_random_initialisation(orthonormal):
    """The same law on the columns of S_src, whatever the sign of v does on the way."""
    rng = np.random.default_rng(0)
    S = random_shift(rng, 7, 4, 1).S_src
    S = S if orthonormal else S @ np.diag([1.0, 1.3, 1.6, 2.0])
    w = rng.standard_normal((80, 7))
    init = Network(rng.standard_normal((80, 1, 7)), 0.3 * rng.standard_normal((80, 1)))
    pre = pretrained(init, S, w)
    assert (np.sign(pre.v) != np.sign(init.v)).sum() > 5
    assert np.abs(linear_loss(pre, w, S @ S.T)).max() < 1e-14
    assert distance(pre, follow((init, S.T, w @ S))) < 1e-8


@few
@given(k=st.integers(1, 3), **SIZES)
def test_limits_do_not_change_where_they_start_over(n, d, k, seed):
    case = instance(seed, n=n, d=d, k=k, noise=0.3)
    for law in (first_layer_limit, last_layer_limit, *([full_limit] if k == 1 else [])):
        end = law(*case)
        assert distance(law(end, case.x, case.y), end) < 1e-8


def test_a_fit_that_is_known_changes_nothing():
    case = instance(1, n=3, d=6)
    data = fit(case.x, case.y)
    for law in (first_layer_limit, full_limit):
        assert distance(law(*case, data), law(*case)) == 0


def test_duplicate_examples_span_no_more():
    net, x, y = instance(2, n=3, d=5)
    twice = np.concatenate([x, x], axis=1), np.concatenate([y, y], axis=1)
    assert distance(full_limit(net, *twice), full_limit(net, x, y)) < 1e-12
    assert fit(*twice).Q.any(-1).sum(-1).tolist() == [3, 3, 3]


def test_head_does_not_cancel():
    """v^2 - |b|^2 = -10^12 and |w| = 1: u = 10^-12, lost by (a + sqrt(a^2 + 4)) / 2."""
    end = full_limit(
        Network(np.array([[1e6, 0.0]]), np.array([1e-3])), np.eye(2), np.array([1.0, 0])
    )
    assert end.v[0] ** 2 == pytest.approx(1e-12, rel=1e-9)
    assert (end.v @ end.B)[0] == pytest.approx(1, rel=1e-9)


def test_forgetting_law_solved_by_sympy():
    """d = 2, x = (3, 4), rational data: v b_T = w_T and v^2 - b_T^2 = a, solved exactly."""
    v0, b0, label = sp.Rational(3, 2), (sp.Rational(1, 3), sp.Rational(-1, 2)), 7
    x = (sp.Rational(3), sp.Rational(4))
    b_T = sum(b * c for b, c in zip(b0, x, strict=True)) / 5  # along x / 5
    v, b = sp.symbols("v b", real=True)
    roots = sp.solve([v**2 - b**2 - (v0**2 - b_T**2), v * b - sp.Rational(label, 5)], [v, b])
    v_end, b_end = next(root for root in roots if root[0] > 0)
    rest = [c0 - b_T * c / 5 for c0, c in zip(b0, x, strict=True)]
    B_end = [r + b_end * c / 5 for r, c in zip(rest, x, strict=True)]
    net = Network(np.array([b0], dtype=float), np.array([v0], dtype=float))
    end = full_limit(net, np.array([x], dtype=float), np.array([label], dtype=float))
    assert end.v[0] == pytest.approx(float(v_end), rel=1e-14)
    np.testing.assert_allclose(end.B[0], [float(value) for value in B_end], rtol=1e-13)


def test_first_layer_in_rational_arithmetic():
    """d = 2, k = 2, x = (1, 2), v = (1, 3): B + v (y - v.Bx) x^T / (|v|^2 |x|^2)."""
    B, v, x, label = ((2, -1), (0, 1)), (1, 3), (1, 2), 4
    at_start = sum(v[i] * sum(B[i][j] * x[j] for j in range(2)) for i in range(2))
    step = Fraction(label - at_start, 10 * 5)
    exact = [[float(B[i][j] + step * v[i] * x[j]) for j in range(2)] for i in range(2)]
    end = first_layer_limit(
        Network(np.array(B, float), np.array(v, float)),
        np.array([x], float),
        np.array([label], float),
    )
    np.testing.assert_allclose(end.B, exact, rtol=1e-15)


ONES = Network(np.ones((1, 2)), np.ones(1))


@pytest.mark.parametrize("law", [first_layer_limit, full_limit])
def test_v_zero(law):
    with pytest.raises(ValueError, match="v must not be 0, but 1 of 1 are"):
        law(Network(np.ones((1, 2)), np.zeros(1)), np.ones((3, 2)), np.ones(3))


def test_wider_networks_have_no_closed_form():
    net = Network(np.ones((2, 2)), np.ones(2))
    with pytest.raises(ValueError, match=r"k must be 1 .* not 2"):
        full_limit(net, np.ones((3, 2)), np.ones(3))


def test_labels_that_explain_nothing():
    with pytest.raises(ValueError, match=r"part of y that x explains must not be 0"):
        full_limit(ONES, np.ones((2, 2)), np.array([1.0, -1.0]))


@pytest.mark.parametrize("law", [first_layer_limit, last_layer_limit, full_limit])
@pytest.mark.parametrize(
    ("net", "x", "y", "message"),
    [
        (ONES, np.ones((3, 4)), np.ones(3), r"x has shape \(3, 4\); .*\(any, 2\)"),
        (ONES, np.ones((3, 2)), np.ones(4), r"y has shape \(4,\); .*\(3\)"),
        (ONES, np.ones((0, 2)), np.ones(0), "n must be .* at least 1, not 0"),
        (ONES, np.ones(2), np.ones(1), r"x has shape \(2,\)"),
        (Network(np.ones((1, 2)), np.ones(3)), np.ones((3, 2)), np.ones(3), r"v has shape \(3,\)"),
        (ONES, np.full((3, 2), np.nan), np.ones(3), r"x must be finite, but holds nan \(6 of 6\)"),
        (ONES, np.ones((3, 2)), np.full(3, np.inf), "y must be finite, but holds inf"),
    ],
)
def test_data_that_do_not_fit(law, net, x, y, message):
    with pytest.raises(ValueError, match=message):
        law(net, x, y)
