"""Instances of the propositions: what they promise, and what they refuse."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.instances import (
    Instance,
    reflected_input,
    reflected_output,
    shifted_input,
    shifted_output,
)

MAKERS = (shifted_input, shifted_output, reflected_input, reflected_output)
quick = settings(deadline=None, max_examples=25)
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 4)
each = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def parts(**changes):
    good = {"B_pre": np.ones((3, 2)), "v_pre": np.ones(3), "x": np.ones((4, 2)), "A": np.eye(2)}
    return {"name": "an instance", **good, **changes}


@each
@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_shapes_and_labels(make, seed, k, d):
    instance = make(k, d, seed, n=5)
    assert (instance.k, instance.d, instance.exact) == (k, d, True)
    assert instance.x_trg.shape == (5, d)
    assert instance.features.shape == (5, k)
    for x, x_trg, y_trg in zip(instance.x, instance.x_trg, instance.y_trg, strict=True):
        y_src = sum(
            v * max(Fraction(0), sum(b * c for b, c in zip(row, x, strict=True)))
            for v, row in zip(instance.v_pre, instance.B_pre, strict=True)
        )
        assert y_trg == instance.t * y_src
        assert (instance.A @ x == x_trg).all()


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_reflected_input_meets_its_assumptions(seed, k, d):
    instance = reflected_input(k, d, seed)
    assert (-np.eye(d) == instance.A).all() and instance.t == 1
    assert (instance.x @ instance.B_pre.T > 0).all()
    assert instance.label_power > 0


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_reflected_output_meets_its_assumptions(seed, k, d):
    instance = reflected_output(k, d, seed)
    assert (np.eye(d) == instance.A).all() and instance.t == -1
    assert (instance.v_pre > 0).all() and (instance.x @ instance.B_pre.T > 0).all()
    assert (instance.y_trg < 0).all()


def test_labels_that_vanish_are_avoided():
    vanishing = [seed for seed in range(200) if reflected_input(1, 1, seed).v_pre[0] == 1]
    assert vanishing  # v_pre = 0 was drawn, and 1 was added
    assert all(reflected_input(1, 1, seed).label_power > 0 for seed in vanishing)


@each
def test_floats_are_the_same_instance_rounded(make):
    instance = make(3, 2, seed=0)
    rounded = instance.floats()
    assert not rounded.exact and rounded.name == instance.name
    loss = instance.loss(instance.B_pre, instance.v_pre)
    assert isinstance(loss, Fraction)
    assert rounded.loss(rounded.B_pre, rounded.v_pre) == pytest.approx(float(loss), rel=1e-12)


@each
def test_same_seed_same_instance_and_seed_0_is_a_seed(make):
    same, other = make(3, 2, seed=0), make(3, 2, seed=1)
    assert (same.B_pre == make(3, 2, seed=0).B_pre).all()
    assert (same.B_pre != other.B_pre).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_pre": np.ones(2)}, r"v_pre has shape \(2,\); its last axes must be \(3\)"),
        ({"x": np.ones((4, 3))}, r"x has shape \(4, 3\); its last axes must be \(any, 2\)"),
        ({"A": np.eye(3)}, r"A has shape \(3, 3\); its last axes must be \(2, 2\)"),
        ({"A": np.ones((2, 2))}, "A must be invertible, but its rank is 1 of 2"),
        (
            {"A": np.array([[Fraction(1)] * 2] * 2, dtype=object)},
            "A must be invertible, but its rank is 1 of 2",
        ),
        ({"B_pre": np.full((3, 2), np.nan)}, r"B_pre must be finite, but holds nan \(6 of 6\)"),
        ({"B_pre": np.ones(3)}, r"B_pre must have 2 axes, not shape \(3,\)"),
        ({"B_pre": np.ones((0, 2))}, "k must be an integer of at least 1, not 0"),
        ({"B_pre": np.ones((3, 0))}, "d must be an integer of at least 1, not 0"),
        ({"x": np.ones((0, 2))}, "n must be an integer of at least 1, not 0"),
        ({"t": np.inf}, r"t must be finite, but holds inf \(1 of 1\)"),
        ({"t": [1, 2]}, r"t must have 0 axes, not shape \(2,\)"),
    ],
)
def test_refuses(changes, message):
    Instance(**parts())
    with pytest.raises(ValueError, match=message):
        Instance(**parts(**changes))


@each
@pytest.mark.parametrize(("name", "value"), [("k", 0), ("d", 0), ("n", 0), ("seed", -1)])
def test_refuses_sizes(make, name, value):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least"):
        make(**{"k": 2, "d": 2, "seed": 0, name: value})


def test_t_may_be_0():
    assert (Instance(**parts(t=0)).y_trg == 0).all()
