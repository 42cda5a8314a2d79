"""The statements in SymPy, and statements that are false, which must not come out as true."""

import pytest
import sympy

from theory import symbolic

sizes = pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (2, 3)])


def test_constructions_for_any_size():
    assert symbolic.first_layer_residual() == 0
    assert symbolic.last_layer_residual() == 0


@sizes
def test_construction_by_entry(k, d):
    assert symbolic.first_layer_residual_by_entry(k, d) == 0


def test_a_false_construction_leaves_something():
    B, v, A, x = symbolic.any_size()
    wrong = v.T * (B * A * A * x).applyfunc(symbolic.PHI)
    right = v.T * (B * x).applyfunc(symbolic.PHI)
    assert (wrong - right).doit()[0, 0] != 0


def test_relu_is_positively_homogeneous_and_only_that():
    assert symbolic.scale_residual() == 0
    s = sympy.Symbol("s", real=True)
    z = symbolic.z
    of_any_sign = (symbolic.RELU(s * z) - s * symbolic.RELU(z)).rewrite(sympy.Abs).expand()
    assert of_any_sign.subs({s: -1, z: 1}) == 1


@sizes
def test_every_last_layer_predicts_0(k, d):
    case = symbolic.last_layer_counterexample(k, d)
    assert case.prediction == 0
    assert case.excess == 0  # every v has the loss y^2
    assert case.label != 0
    assert case.label.subs({p: 1 for p in symbolic.letters("p", k)}).is_positive


@sizes
def test_every_first_layer_predicts_the_wrong_sign(k, d):
    case = symbolic.first_layer_counterexample(k, d)
    assert case.prediction.is_nonnegative
    assert case.label.is_negative
    assert case.excess.is_nonnegative
    y, p = case.label, case.prediction
    assert sympy.expand((p - y) ** 2 - y**2 - case.excess) == 0


def test_the_bound_is_attained_by_dead_units():
    case = symbolic.first_layer_counterexample(2, 2)
    dead = {b: -1 for b in symbolic.letters("B", 2, 2)}
    assert case.prediction.subs(dead) == 0
    assert case.excess.subs(dead) == 0


def test_without_positive_symbols_sympy_does_not_agree():
    v, B, x = symbolic.letters("v", 2), symbolic.letters("B", 2, 2), symbolic.letters("x", 2)
    prediction = (v.T * (B * x).applyfunc(symbolic.RELU))[0]
    assert prediction.is_nonnegative is None
    assert (v.T * (-B * x).applyfunc(symbolic.RELU))[0] != 0


@pytest.mark.parametrize(("k", "d"), [(0, 1), (1, 0)])
def test_refuses_sizes(k, d):
    for make in (symbolic.last_layer_counterexample, symbolic.first_layer_counterexample):
        with pytest.raises(ValueError, match="k and d must be an integer of at least 1, not 0"):
            make(k, d)
