"""What the flow keeps, watched; and what does not keep it."""

import numpy as np
import pytest

from theory.descent import adam, descend, gradient_descent, momentum
from theory.flow import flow
from theory.monitors import conservation, conserved, off_span, training_loss, violations
from theory.networks import Network


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    net = Network(rng.standard_normal((5, 3, 8)), rng.standard_normal((5, 3)))
    return net, rng.standard_normal((5, 4, 8)), rng.standard_normal((5, 4))


def test_conserved_is_the_matrix_of_equation_16():
    net = Network(np.array([[1.0, 2], [0, 3]]), np.array([2.0, 1]))
    np.testing.assert_allclose(conserved(net), [[4 - 5, 2 - 6], [2 - 6, 1 - 9]])


def test_flow_conserves(problem):
    net, x, y = problem
    assert flow(net, x, y, watch=conservation(net)).highest.max() < 1e-8


def test_first_layer_tuning_conserves_nothing(problem):
    net, x, y = problem
    assert flow(net, x, y, "first", watch=conservation(net)).highest.min() > 1e-3


@pytest.mark.parametrize("tune", ["first", "all"])
def test_no_step_leaves_the_span_and_adam_does(problem, tune):
    net, x, y = problem
    for rule, stays in (
        (gradient_descent(1e-3), True),
        (momentum(1e-3), True),
        (adam(1e-2), False),
    ):
        moved = descend(net, x, y, rule, 200, tune, watch=off_span(net, x)).highest
        assert (moved.max() < 1e-12) if stays else (moved.min() > 1e-3)


def test_violations_are_rounding(problem):
    assert max(violations(*problem).values()) < 1e-8


def test_large_steps_and_momentum_drift(problem):
    net, x, y = problem
    for rule in (gradient_descent(3e-3), momentum(3e-3)):
        end = descend(net, x, y, rule, 300, watch=conservation(net))
        assert (end.highest[end.status == "done"] > 1e-4).all()


def test_a_move_outside_the_span_is_seen(problem):
    net, x, _ = problem
    direction = np.linalg.svd(x)[2][:, -1]  # orthogonal to every input
    size = np.sqrt((net.v**2).sum(-1) + (net.B**2).sum((-2, -1)))
    moved = Network(net.B + 0.5 * direction[:, None, :], net.v)
    some = np.array([1, 3])
    got = off_span(net, x)(Network(moved.B[some], moved.v[some]), some)
    np.testing.assert_allclose(got, 0.5 * np.sqrt(3) / size[some])


def test_loss_only_falls(problem):
    net, x, y = problem
    start = training_loss(x, y)(net, np.arange(5))
    path = flow(net, x, y, watch=training_loss(x, y))
    np.testing.assert_allclose(path.highest, start)
    np.testing.assert_allclose(path.lowest, path.loss, atol=1e-12)
