"""Propositions 1 and 2 in exact arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import rational
from theory.instances import reflected_input, reflected_output, shifted_input, shifted_output
from theory.propositions import (
    exact_losses,
    first_layer_bound,
    last_layer_bound,
    tuned_first_layer,
    tuned_last_layer,
)

quick = settings(deadline=None, max_examples=25)
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 4)


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_equation_5(seed, k, d):
    instance = shifted_input(k, d, seed)
    B, v = tuned_first_layer(instance)
    assert instance.loss(B, v) == 0
    assert (instance.B_pre == B @ instance.A).all() and (v == instance.v_pre).all()


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_equation_6(seed, k, d):
    instance = shifted_output(k, d, seed)
    B, v = tuned_last_layer(instance)
    assert instance.loss(B, v) == 0
    assert (instance.B_pre == B).all() and (v == instance.t * instance.v_pre).all()


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_no_last_layer_reaches_below_the_bound(seed, k, d):
    instance = reflected_input(k, d, seed)
    bound = last_layer_bound(instance)
    tried = rational.draw(np.random.default_rng(seed), 5, k)
    assert bound > 0
    assert [instance.loss(instance.B_pre, v) for v in tried] == [bound] * 5


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_no_first_layer_reaches_below_the_bound(seed, k, d):
    instance = reflected_output(k, d, seed)
    bound = first_layer_bound(instance)
    tried = rational.draw(np.random.default_rng(seed), 5, k, d)
    assert bound > 0
    assert all(instance.loss(B, instance.v_pre) >= bound for B in tried)
    assert instance.loss(-instance.B_pre, instance.v_pre) == bound  # all units dead: attained


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_the_other_layer_repairs_each_counterexample(seed, k, d):
    first, last = reflected_input(k, d, seed), reflected_output(k, d, seed)
    assert first.loss(*tuned_first_layer(first)) == 0
    assert last.loss(*tuned_last_layer(last)) == 0


@quick
@given(seed=seeds, k=sizes, d=sizes, n=st.integers(1, 9), m=st.integers(1, 9))
def test_either_layer_undoes_brightness(seed, k, d, n, m):
    s = Fraction(n, m)
    instance = replace(shifted_output(k, d, seed), A=s * rational.identity(d))
    assert instance.loss(*tuned_last_layer(instance)) == 0
    positive = replace(instance, t=abs(instance.t))
    assert positive.loss(*tuned_first_layer(positive)) == 0


def test_float64_repairs_up_to_rounding():
    instance = shifted_input(4, 3, seed=0).floats()
    assert instance.loss(*tuned_first_layer(instance)) < 1e-25 * instance.label_power


def test_t_0_is_repaired_by_either_layer():
    instance = replace(shifted_output(3, 2, seed=0), t=Fraction(0))
    assert instance.loss(*tuned_last_layer(instance)) == 0
    assert instance.loss(*tuned_first_layer(instance)) == 0


def test_a_wrong_repair_has_a_loss():
    shifted = shifted_input(3, 2, seed=0)
    assert shifted.loss(shifted.B_pre @ shifted.A, shifted.v_pre) > 0
    scaled = reflected_output(3, 2, seed=0)
    assert scaled.loss(scaled.B_pre, -scaled.t * scaled.v_pre) > 0


def test_repairs_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"t must be at least 0 .* not -1"):
        tuned_first_layer(reflected_output(2, 2, seed=0))
    for instance in (reflected_input(2, 2, seed=0), shifted_input(2, 2, seed=0)):
        with pytest.raises(ValueError, match="A must be s I with s > 0"):
            tuned_last_layer(instance)


def test_bounds_refuse_what_they_do_not_hold_for():
    alive = replace(reflected_input(3, 2, seed=0), A=rational.identity(2))
    with pytest.raises(ValueError, match="but 24 of its 24 entries are not"):
        last_layer_bound(alive)
    harmless = replace(reflected_output(3, 2, seed=0), t=Fraction(1))
    with pytest.raises(ValueError, match="v_pre must have one sign and y_trg the other"):
        first_layer_bound(harmless)
    mixed = reflected_output(3, 2, seed=0)
    mixed = replace(mixed, v_pre=mixed.v_pre * np.array([1, 1, -1]))
    with pytest.raises(ValueError, match="v_pre must have one sign and y_trg the other"):
        first_layer_bound(mixed)


def test_the_bound_holds_with_signs_reversed():
    instance = reflected_output(3, 2, seed=0)
    reversed_ = replace(instance, v_pre=-instance.v_pre)
    assert first_layer_bound(reversed_) == first_layer_bound(instance)


def test_table_of_exact_losses():
    table = exact_losses(((1, 1), (3, 2)), seeds=(0, 1, 2))
    assert len(table) == 12
    assert all(isinstance(loss, Fraction) and loss == 0 for loss in table["tuned"])
    assert (table.query("k == 3")["untuned"] > 0).any()
