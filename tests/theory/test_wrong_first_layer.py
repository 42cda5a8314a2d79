"""The first layer under y_trg = t y_src: its exact loss, construction, lower bound and search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.networks import Network, monte_carlo_loss, predict
from theory.wrong_first_layer import (
    best_first_layer,
    by_share,
    loss_and_gradient,
    lower_bound,
    relative_loss,
    signed_network,
    spectral_bound,
    swap,
)
from theory.wrong_last_layer import label_power

quick = settings(deadline=None, max_examples=25)
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 5)


def draw(seed, k, d, positive):
    return signed_network(np.random.default_rng(seed), k, d, positive)


@quick
@given(seed=seeds, k=sizes, d=sizes, positive=st.integers(0, 5))
def test_signs(seed, k, d, positive):
    positive = min(positive, k)
    net = draw(seed, k, d, positive)
    assert (net.v > 0).sum() == positive and (net.v < 0).sum() == k - positive


def test_loss_against_simulation():
    net = draw(0, 4, 3, 2)
    B = np.random.default_rng(1).standard_normal((4, 3))
    x = np.random.default_rng(2).standard_normal((100_000, 3))
    mean, error = monte_carlo_loss(
        Network(B, net.v), lambda x: -2 * predict(net, x, "relu"), x, "relu"
    )
    exact = relative_loss(B, net, -2) * 4 * label_power(net, np.eye(3))
    assert abs(mean - exact) < 4 * error
    assert error < 0.02 * exact


@quick
@given(seed=seeds, k=sizes, d=sizes, t=st.sampled_from([-3.0, -0.5, 2.0]))
def test_gradient_is_that_of_finite_differences(seed, k, d, t):
    net = draw(seed, k, d, k // 2)
    rng = np.random.default_rng([seed, 1])
    B, direction = rng.standard_normal((2, k, d))
    value, gradient = loss_and_gradient(B, net, t)
    assert value == pytest.approx(relative_loss(B, net, t), rel=1e-9, abs=1e-12)
    h = 1e-5
    ends = [loss_and_gradient(B + step * direction, net, t)[0] for step in (h, -h)]
    slope = (ends[0] - ends[1]) / (2 * h)
    scale = np.abs(gradient).max() + 1
    # in d = 1 a row may pass 0, where the loss has a kink; none does within h here
    assert (gradient * direction).sum() == pytest.approx(slope, abs=1e-4 * scale)


@quick
@given(seed=seeds, k=sizes, d=sizes, t=st.floats(0.1, 5))
def test_positive_t_costs_nothing(seed, k, d, t):
    net = draw(seed, k, d, k // 2)
    assert relative_loss(swap(net, t), net, t) < 1e-10
    assert lower_bound(net, t) < 1e-10


@quick
@given(seed=seeds, half=st.integers(1, 4), d=sizes, t=st.floats(-5, -0.1))
def test_balanced_signs_cost_nothing(seed, half, d, t):
    net = draw(seed, 2 * half, d, half)
    B = swap(net, t)
    assert relative_loss(B, net, t) < 1e-10
    assert lower_bound(net, t) < 1e-10
    x = np.random.default_rng(seed).standard_normal((20, d))
    np.testing.assert_allclose(
        predict(Network(B, net.v), x, "relu"), t * predict(net, x, "relu"), atol=1e-10
    )


@quick
@given(seed=seeds, k=sizes, extra=st.integers(0, 3), positive=st.integers(0, 5))
def test_bound_of_unequal_signs(seed, k, extra, positive):
    """Below every loss tried, and positive where the rows are independent."""
    net = draw(seed, k, k + extra, min(positive, k))
    bound = lower_bound(net, -1)
    rng = np.random.default_rng([seed, 2])
    tried = [swap(net, -1), *(0.5 * rng.standard_normal((10, *net.B.shape)))]
    assert all(relative_loss(B, net, -1) >= bound - 1e-12 for B in tried)
    assert (bound > 1e-14) == (2 * min(positive, k) != k)


def test_spectral_bound_is_a_bound_for_one_sign_too():
    for positive in (0, 4):
        net = draw(0, 4, 4, positive)
        assert 0.1 < spectral_bound(net, -1) < lower_bound(net, -1) == 1


def test_the_search_never_beats_the_bound_and_beats_the_construction():
    net = draw(0, 4, 4, 3)
    found = best_first_layer(net, -1, restarts=3, seed=0)
    built = relative_loss(swap(net, -1), net, -1)
    assert lower_bound(net, -1) <= found.losses.min() and found.loss < 0.9 * built
    assert found.loss == pytest.approx(relative_loss(found.B, net, -1), rel=1e-12)
    assert len(found.losses) == 4 and (np.diff(found.losses) >= 0).all()


@pytest.mark.parametrize("positive", [0, 3])
def test_one_sign_loses_everything(positive):
    net = draw(0, 3, 3, positive)
    found = best_first_layer(net, -1, restarts=2)
    assert found.loss == pytest.approx(1, rel=1e-12)
    assert (found.losses >= 1 - 1e-12).all()


def test_the_search_repairs_what_can_be_repaired():
    net = draw(0, 2, 2, 1)
    away = Network(net.B, net.v)
    found = best_first_layer(away, -1, restarts=5, seed=1)
    assert (found.losses < 1e-8).sum() >= 2  # from a random start as well as from `swap`


@pytest.mark.parametrize("t", [-0.25, -7.0])
def test_only_the_sign_of_t_matters(t):
    net = draw(0, 4, 4, 3)
    B = np.random.default_rng(0).standard_normal((4, 4))
    assert relative_loss(-t * B, net, t) == pytest.approx(relative_loss(B, net, -1), rel=1e-10)
    assert spectral_bound(net, t) == pytest.approx(spectral_bound(net, -1), rel=1e-8)


def test_reversing_all_signs_changes_nothing():
    net = draw(0, 4, 4, 3)
    opposite = Network(net.B, -net.v)
    B = np.random.default_rng(0).standard_normal((4, 4))
    assert relative_loss(B, opposite, -1) == pytest.approx(relative_loss(B, net, -1), rel=1e-12)
    assert spectral_bound(opposite, -1) == pytest.approx(spectral_bound(net, -1), rel=1e-8)


def test_by_share():
    table = by_share(2, 2, seeds=(0, 1), restarts=1)
    assert table["positive"].tolist() == [0, 0, 1, 1, 2, 2]
    assert (table["bound"] <= table["best"] + 1e-12).all()
    assert (table["best"] <= table["swap"]).all()
    assert table.query("share == 0.5")["best"].max() < 1e-12
    assert table.query("share != 0.5")["best"].to_numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: draw(0, 3, 3, 4), "positive must be an integer from 0 to k = 3, not 4"),
        (lambda net: draw(0, 3, 3, -1), "positive must be an integer of at least 0, not -1"),
        (lambda net: relative_loss(net.B, net, 0), "t must not be 0"),
        (lambda net: best_first_layer(net, 0), "t must not be 0"),
        (lambda net: best_first_layer(net, -1, restarts=-1), "restarts must be an integer"),
        (lambda net: best_first_layer(net, -1, seed=-1), "seed must be an integer"),
        (lambda net: swap(net, np.nan), "t must be finite, but holds nan"),
        (lambda net: by_share(0, 2, (0,)), "k must be an integer of at least 1, not 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(draw(0, 3, 3, 2))


def test_swap_with_t_0_is_0():
    assert not swap(draw(0, 3, 2, 1), 0).any()
