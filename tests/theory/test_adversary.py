"""The adversary never beats a bound, comes close to it, and wins where there is none."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import rational
from theory.adversary import (
    attack_counterexamples,
    attack_first_layer,
    attack_last_layer,
    descend,
)
from theory.instances import reflected_input, reflected_output, shifted_input, shifted_output
from theory.propositions import first_layer_bound, last_layer_bound

seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 4)
ROUNDING = 1e-12  # relative


@settings(deadline=None, max_examples=25)
@given(seed=seeds, k=sizes, d=sizes)
def test_last_layer_attack_never_beats_its_bound(seed, k, d):
    instance = reflected_input(k, d, seed)
    bound = float(last_layer_bound(instance))
    assert attack_last_layer(instance).loss == pytest.approx(bound, rel=ROUNDING)


@settings(deadline=None, max_examples=15)
@given(seed=seeds, k=sizes, d=sizes)
def test_first_layer_attack_never_beats_its_bound(seed, k, d):
    instance = reflected_output(k, d, seed)
    bound = float(first_layer_bound(instance))
    attack = attack_first_layer(instance, restarts=3, seed=seed)
    assert attack.losses.min() >= bound * (1 - ROUNDING)
    assert attack.loss >= bound * (1 - ROUNDING)


def test_the_bounds_are_tight():
    table = attack_counterexamples(((3, 2),), seeds=(0, 1), restarts=5)
    assert len(table) == 4
    assert table["ratio"].between(1 - ROUNDING, 1 + 1e-6).all()


def test_last_layer_attack_is_the_optimum():
    instance = shifted_input(3, 4, seed=1).floats()
    attack = attack_last_layer(instance)
    rng = np.random.default_rng(0)
    around = attack.net.v + 0.1 * rng.standard_normal((50, 3))
    assert all(instance.loss(instance.B_pre, v) >= attack.loss * (1 - ROUNDING) for v in around)
    residual = instance.features @ attack.net.v - instance.y_trg
    gradient = instance.features.T @ residual
    assert np.abs(gradient).max() < 1e-10 * np.abs(instance.features.T @ instance.y_trg).max()


def test_the_adversary_wins_where_proposition_1_has_a_gap():
    """One point of the support stays where it was: its features live, and it can be fitted."""
    instance = reflected_input(3, 2, seed=0)
    x = instance.x.copy()
    x[0] = -x[0]  # B_pre x < 0 there, so the label is 0 and the features are not
    alive = replace(instance, x=x, v_pre=abs(instance.v_pre), A=rational.identity(2))
    assert attack_last_layer(alive).loss < 1e-20 * float(alive.label_power)
    with pytest.raises(ValueError, match="must be 0"):
        last_layer_bound(alive)


def test_the_adversary_wins_where_proposition_2_has_a_gap():
    """A second unit with a weight of the other sign is enough to reach negative labels."""
    instance = reflected_output(2, 2, seed=0)
    mixed = replace(instance, v_pre=np.array([Fraction(1), Fraction(-1)], dtype=object))
    mixed = replace(mixed, B_pre=instance.B_pre * np.array([[2], [1]]))
    assert attack_first_layer(mixed, restarts=10).loss < 1e-6 * float(mixed.label_power)


def test_the_adversary_finds_the_constructions():
    scaled = replace(shifted_output(2, 2, seed=0), t=Fraction(2))
    assert attack_first_layer(scaled, restarts=10).loss < 1e-8 * float(scaled.label_power)
    assert attack_last_layer(scaled).loss < 1e-20 * float(scaled.label_power)


def test_attacks_repeat_for_a_seed_and_differ_between_seeds():
    instance = shifted_input(3, 2, seed=0)
    first, again, other = (attack_first_layer(instance, 2, seed).losses for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_descend_returns_the_best_of_all_starts():
    """(x^2 - 1)^2 + x / 4 has two minima, the lower one left of 0."""

    def objective(x):
        return float(((x**2 - 1) ** 2 + x / 4).sum()), 4 * x * (x**2 - 1) + 1 / 4

    x, values = descend(objective, [np.array([2.0]), np.array([-2.0])])
    assert x[0] == pytest.approx(-1.03, abs=0.01)
    assert len(values) == 2 and values[0] < 0 < values[1]


@pytest.mark.parametrize(("restarts", "seed", "name"), [(-1, 0, "restarts"), (1, -1, "seed")])
def test_refuses(restarts, seed, name):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 0, not -1"):
        attack_first_layer(reflected_output(1, 1, seed=0), restarts, seed)
