"""Predictions, gradients and population losses against slow loops, autograd, differences and simulation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.networks import (
    ACTIVATIONS,
    Network,
    arc_cosine,
    gradients,
    linear_loss,
    linear_map,
    monte_carlo_loss,
    predict,
    quadratic_form,
    relu_loss,
)

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
quick = settings(deadline=None, max_examples=25)
each_activation = pytest.mark.parametrize("phi", ACTIVATIONS)


def draw(seed, k, d, n=6, lead=()):
    rng = np.random.default_rng(seed)
    net = Network(rng.standard_normal((*lead, k, d)), rng.standard_normal((*lead, k)))
    return net, rng.standard_normal((*lead, n, d)), rng.standard_normal((*lead, n))


def slow_output(B, v, x, phi):
    total = 0.0
    for b, weight in zip(B, v, strict=True):
        z = sum(p * q for p, q in zip(b, x, strict=True))
        total += weight * (max(0.0, z) if phi == "relu" else z)
    return total


def covariance(seed, d):
    root = np.random.default_rng([seed, 1]).standard_normal((d, d))
    return root @ root.T, root


@each_activation
@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_predict_is_the_slow_double_loop(phi, seed, k, d):
    net, x, _ = draw(seed, k, d, lead=(2,))
    slow = [[slow_output(net.B[i], net.v[i], row, phi) for row in x[i]] for i in range(2)]
    np.testing.assert_allclose(predict(net, x, phi), slow, rtol=1e-12, atol=1e-12)


@each_activation
@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_numpy_and_torch_agree(phi, seed, k, d):
    net, x, y = draw(seed, k, d, lead=(3,))
    in_torch = Network(*map(torch.from_numpy, net)), torch.from_numpy(x), torch.from_numpy(y)
    output = predict(*in_torch[:2], phi)
    assert isinstance(output, torch.Tensor)
    np.testing.assert_allclose(predict(net, x, phi), output, rtol=1e-12, atol=1e-12)
    loss, gradient = gradients(net, x, y, phi)
    loss_torch, gradient_torch = gradients(*in_torch, phi)
    np.testing.assert_allclose(loss, loss_torch, rtol=1e-12)
    for ours, theirs in zip(gradient, gradient_torch, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@each_activation
@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_gradients_are_those_of_autograd(phi, seed, k, d):
    net, x, y = draw(seed, k, d)
    leaves = Network(*(torch.from_numpy(part).requires_grad_() for part in net))
    z = torch.from_numpy(x) @ leaves.B.T
    hidden = torch.relu(z) if phi == "relu" else z
    total = ((hidden @ leaves.v - torch.from_numpy(y)) ** 2).sum()
    total.backward()
    loss, gradient = gradients(net, x, y, phi)
    np.testing.assert_allclose(loss, total.item(), rtol=1e-12)
    for ours, leaf in zip(gradient, leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, rtol=1e-10, atol=1e-10)


@each_activation
def test_gradients_are_finite_differences(phi):
    net, x, y = draw(0, 3, 2)
    _, gradient = gradients(net, x, y, phi)
    h = 1e-6
    for part in ("B", "v"):
        for index in np.ndindex(getattr(net, part).shape):
            ends = []
            for step in (h, -h):
                moved = getattr(net, part).copy()
                moved[index] += step
                ends.append(gradients(net._replace(**{part: moved}), x, y, phi)[0])
            slope = (ends[0] - ends[1]) / (2 * h)
            assert getattr(gradient, part)[index] == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_leading_axes_are_trials():
    net, x, y = draw(0, 3, 4, lead=(2, 5))
    loss, gradient = gradients(net, x, y, "relu")
    assert loss.shape == (2, 5)
    one_loss, one = gradients(Network(net.B[1, 3], net.v[1, 3]), x[1, 3], y[1, 3], "relu")
    np.testing.assert_allclose(loss[1, 3], one_loss, rtol=1e-13)
    np.testing.assert_allclose(gradient.B[1, 3], one.B, rtol=1e-12)


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_linear_map_is_the_linear_network(seed, k, d):
    net, x, _ = draw(seed, k, d)
    np.testing.assert_allclose(x @ linear_map(net), predict(net, x), rtol=1e-11, atol=1e-11)


def test_quadratic_form_is_a_double_sum():
    rng = np.random.default_rng(0)
    e, Sigma = rng.standard_normal((2, 3)), rng.standard_normal((2, 3, 3))
    slow = [sum(e[t, i] * Sigma[t, i, j] * e[t, j] for i, j in np.ndindex(3, 3)) for t in range(2)]
    np.testing.assert_allclose(quadratic_form(e, Sigma), slow, rtol=1e-12)


@each_activation
def test_population_losses_are_those_of_a_simulation(phi):
    net, _, _ = draw(0, 3, 4)
    true, _, _ = draw(1, 2, 4)
    Sigma, root = covariance(0, 4)
    x = np.random.default_rng(2).standard_normal((100_000, 4)) @ root.T
    mean, error = monte_carlo_loss(net, lambda x: predict(true, x, phi), x, phi)
    exact = {
        "linear": linear_loss(net, linear_map(true), Sigma),
        "relu": relu_loss(net, true, Sigma),
    }
    assert abs(mean - exact[phi]) < 4 * error
    assert error < 0.02 * mean  # else the line above says little
    assert abs(mean - exact["relu" if phi == "linear" else "linear"]) > 4 * error


@quick
@given(seed=seeds, k=sizes, d=sizes)
def test_relu_loss_vanishes_at_the_truth_and_only_counts_functions(seed, k, d):
    true, _, _ = draw(seed, k, d)
    Sigma, _ = covariance(seed, d)
    scale = quadratic_form(true.v, arc_cosine(true.B, Sigma)) + np.abs(true.v).sum() ** 2
    rescaled = Network(2 * true.B, true.v / 2)  # relu(2 z) = 2 relu(z)
    assert relu_loss(true, true, Sigma) <= 1e-11 * scale * (1 + np.trace(Sigma))
    assert relu_loss(rescaled, true, Sigma) <= 1e-10 * scale * (1 + np.trace(Sigma))


def test_relu_loss_broadcasts():
    net, _, _ = draw(0, 3, 4, lead=(5,))
    true, _, _ = draw(1, 2, 4)
    Sigma, _ = covariance(0, 4)
    losses = relu_loss(net, true, Sigma)
    one = relu_loss(Network(net.B[2], net.v[2]), true, Sigma)
    assert losses.shape == (5,)
    assert losses[2] == pytest.approx(one, rel=1e-12)


@quick
@given(seed=seeds, d=sizes)
def test_arc_cosine_of_known_angles(seed, d):
    b = np.random.default_rng(seed).standard_normal(d)
    K = arc_cosine(np.stack([b, b, -b, 3 * b, 0 * b]), np.eye(d))
    half = b @ b / 2
    np.testing.assert_allclose(K[0], [half, half, 0, 3 * half, 0], rtol=1e-9, atol=1e-9 * half)
    np.testing.assert_allclose(K, K.T, rtol=1e-12, atol=1e-12)


def test_arc_cosine_of_orthogonal_rows():
    np.testing.assert_allclose(
        arc_cosine(np.diag([2.0, 3.0]), np.eye(2))[0, 1], 6 / (2 * np.pi), rtol=1e-14
    )


def test_arc_cosine_takes_lengths_and_angles_in_Sigma():
    Sigma, root = covariance(3, 4)
    rows = np.random.default_rng(3).standard_normal((3, 4))
    np.testing.assert_allclose(
        arc_cosine(rows, Sigma), arc_cosine(rows @ root, np.eye(4)), rtol=1e-10
    )


def test_monte_carlo_needs_two_inputs():
    net, x, _ = draw(0, 2, 3, n=1)
    with pytest.raises(
        ValueError, match="x must hold at least 2 inputs for a standard error, not 1"
    ):
        monte_carlo_loss(net, lambda x: x[..., 0], x)


def test_monte_carlo_standard_error_by_hand():
    net = Network(np.eye(1), np.ones(1))
    mean, error = monte_carlo_loss(net, lambda x: 0 * x[..., 0], np.array([[1.0], [0.0], [2.0]]))
    squares = np.array([1.0, 0, 4])
    assert mean == pytest.approx(5 / 3)
    assert error == pytest.approx(np.sqrt(squares.var() * 3 / 2 / 3))
