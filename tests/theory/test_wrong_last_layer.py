"""The exact loss of the best last layer: against simulation, and where it is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.linear_shifts import brightness, orthogonal, pixel_covariance, turn_and_stretch
from theory.networks import Network, monte_carlo_loss, predict, relu_loss
from theory.wrong_last_layer import (
    best_last_layer,
    by_blur,
    by_condition,
    label_power,
    named_shifts,
    over_seeds,
    random_network,
    relative_losses,
)

quick = settings(deadline=None, max_examples=25)
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 6)


def draw(seed, k, d, condition=5.0):
    rng = np.random.default_rng(seed)
    return random_network(rng, k, d), turn_and_stretch(rng, d, condition)


def test_against_simulation():
    net, A = draw(0, 5, 4)
    x = np.random.default_rng(1).standard_normal((100_000, 4))
    v = best_last_layer(net, A)
    mean, error = monte_carlo_loss(
        Network(net.B @ A, v), lambda x: predict(net, x, "relu"), x, "relu"
    )
    exact = relative_losses(net, A).last_layer * label_power(net, np.eye(4))
    assert abs(mean - exact) < 4 * error
    assert error < 0.02 * exact
    # the simulated optimum, on a sample of its own
    features = np.maximum(x[:50_000] @ (net.B @ A).T, 0)
    fitted = np.linalg.lstsq(features, predict(net, x[:50_000], "relu"), rcond=None)[0]
    loss = float(relu_loss(Network(net.B @ A, fitted), net, np.eye(4)))
    assert exact < loss < 1.001 * exact


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_no_other_last_layer_is_better(seed, k, d):
    net, A = draw(seed, k, d)
    best = relu_loss(Network(net.B @ A, best_last_layer(net, A)), net, np.eye(d))
    rng = np.random.default_rng([seed, 1])
    for size in (1e-3, 0.1, 1):
        v = best_last_layer(net, A) + size * rng.standard_normal(k)
        assert relu_loss(Network(net.B @ A, v), net, np.eye(d)) >= best - 1e-12


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_order_of_the_losses(seed, k, d):
    losses = relative_losses(*draw(seed, k, d))
    assert losses.last_layer <= min(1, losses.untuned) + 1e-9
    assert losses.first_layer < 1e-9


@quick
@given(seed=seeds, k=sizes, d=sizes, s=st.floats(0.1, 10))
def test_brightness_is_undone_by_the_last_layer(seed, k, d, s):
    net, _ = draw(seed, k, d)
    losses = relative_losses(net, brightness(s, d))
    assert losses.untuned == pytest.approx((s - 1) ** 2, rel=1e-6, abs=1e-9)
    assert losses.last_layer < 1e-9


@quick
@given(seed=seeds, k=sizes, d=sizes, s=st.floats(0.1, 10))
def test_the_last_layer_does_not_see_the_scale_of_A(seed, k, d, s):
    net, A = draw(seed, k, d)
    ours, scaled = (relative_losses(net, B).last_layer for B in (A, s * A))
    assert ours == pytest.approx(scaled, abs=1e-8)


def test_one_unit_by_hand():
    """k = d = 1: A = 2 is a brightness; A = -1 kills all common support, and the loss is E y^2."""
    net = Network(np.array([[1.0]]), np.array([3.0]))
    assert relative_losses(net, np.array([[2.0]])) == pytest.approx((1, 0, 0), abs=1e-12)
    assert relative_losses(net, np.array([[-1.0]])).last_layer == pytest.approx(1, rel=1e-12)
    assert label_power(net, np.eye(1)) == pytest.approx(9 / 2)


def test_a_shift_can_be_a_symmetry_of_the_network():
    """Units +-e_i, all of weight 1: turning the axes into each other changes nothing."""
    net = Network(np.concatenate([np.eye(2), -np.eye(2)]), np.ones(4))
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert relative_losses(net, quarter) == pytest.approx((0, 0, 0), abs=1e-12)
    eighth = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    assert relative_losses(net, eighth).last_layer > 1e-3


def test_units_that_repeat_or_are_0_do_not_upset_the_normal_equations():
    net, A = draw(0, 3, 2)
    padded = Network(
        np.concatenate([net.B, net.B[:1], np.zeros((1, 2))]), np.concatenate([net.v, [0, 1]])
    )
    ours, theirs = (relative_losses(one, A).last_layer for one in (net, padded))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_Sigma_is_a_change_of_coordinates():
    net, A = draw(0, 4, 4)
    Sigma = pixel_covariance(2, 0.6)
    root = np.linalg.cholesky(Sigma)
    white = Network(net.B @ root, net.v)
    same = np.linalg.solve(root, A @ root)
    assert relative_losses(net, A, Sigma) == pytest.approx(relative_losses(white, same), abs=1e-9)
    assert relative_losses(net, A, Sigma).last_layer != pytest.approx(
        relative_losses(net, A).last_layer, rel=1e-3
    )


def test_by_condition():
    table = by_condition((1, 10), (3,), 4, seeds=(0, 1))
    assert len(table) == 2 * 1 * 2 * 2
    undistorted = table.query("shift == 'stretch' and condition == 1")
    assert (undistorted["last_layer"] < 1e-12).all()
    assert (table.query("shift == 'turn and stretch'")["last_layer"] > 1e-3).all()
    wide = table.query("shift == 'stretch' and condition == 10")
    assert (wide["last_layer"] > 1e-3).all() and (wide["first_layer"] < 1e-12).all()


@pytest.mark.parametrize("boundary", ["reflect", "zero"])
def test_by_blur(boundary):
    table = by_blur((0.1, 0.6, 1), (0.0, 0.9), 5, 3, seeds=(0,), boundary=boundary)
    assert len(table) == 6
    for _, rows in table.groupby("rho"):
        assert rows["condition"].is_monotonic_increasing
        assert rows["last_layer"].is_monotonic_increasing and rows["last_layer"].max() > 1e-3
    means = table.groupby("rho")["untuned"].mean()
    assert means[0.0] > means[0.9]  # smooth patches suffer less


def test_named_shifts_and_their_medians():
    shifts = {"turn": orthogonal(np.random.default_rng(0), 3), "twice": brightness(2, 3)}
    frame = named_shifts(shifts, k=4, seeds=(0, 1, 2))
    table = over_seeds(frame)
    assert table["n"].tolist() == [3, 3]
    row = table.set_index("shift").loc["turn"]
    theirs = frame.query("shift == 'turn'")["last_layer"]
    assert (row["last_layer_min"], row["last_layer_median"], row["last_layer_max"]) == tuple(
        sorted(theirs)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, A: relative_losses(net, np.eye(2)), r"A has shape \(2, 2\); .* \(3, 3\)"),
        (lambda net, A: relative_losses(net, A, np.eye(2)), r"Sigma has shape \(2, 2\)"),
        (lambda net, A: relative_losses(net, 0 * A), "A must be invertible, not"),
        (lambda net, A: relative_losses(net, np.nan * A), "A must be finite, but holds nan"),
        (lambda net, A: relative_losses(net._replace(v=np.ones(3)), A), r"v has shape \(3,\)"),
        (lambda net, A: relative_losses(net._replace(v=0 * net.v), A), "net must not be 0"),
        (lambda net, A: by_condition((0.5,), (3,), 3, (0,)), "condition must be at least 1"),
        (lambda net, A: by_condition((1,), (0,), 3, (0,)), "k must be an integer of at least 1"),
        (lambda net, A: by_condition((1,), (3,), 3, ()), "every list needs an entry"),
        (lambda net, A: random_network(np.random.default_rng(0), 1, 0), "d must be an integer"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(*draw(0, 4, 3))
