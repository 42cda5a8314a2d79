"""The closed path on whitened inputs, against the flow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances_at_random import distance, instance

from theory.exact import full_limit
from theory.flow import flow
from theory.networks import Network, gradients
from theory.whitened import whitened_path

TIMES = np.array([0.0, 0.01, 0.1, 0.3, 1.0, 3.0])


def white(seed, n=3, d=5, noise=0.3):
    """All singular values of x equal, but not 1."""
    net, x, y = instance(seed, n=n, d=d, noise=noise, spread=1.0)
    return net, 0.8 * x, y


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 6), d=st.integers(1, 6), seed=st.integers(0, 999))
def test_path_is_that_of_the_flow(n, d, seed):
    case = white(seed, n, d)
    exact, end = whitened_path(*case, TIMES), flow(*case, times=TIMES)
    assert distance(end.path, exact) < 1e-8


def test_it_starts_at_the_start_and_ends_in_the_limit():
    case = white(1)
    path = whitened_path(*case, np.array([0.0, 1e4]))
    assert distance(Network(path.B[:, 0], path.v[:, 0]), case[0]) < 1e-14
    assert distance(Network(path.B[:, 1], path.v[:, 1]), full_limit(*case)) < 1e-12


def test_its_derivative_is_the_gradient():
    """Central differences: no solver involved."""
    net, x, y = white(2)
    h, t = 1e-5, 0.4
    path = whitened_path(net, x, y, np.array([t - h, t, t + h]))
    _, grad = gradients(Network(path.B[:, 1], path.v[:, 1]), x, y)
    for moved, slope in zip(path, grad, strict=True):
        np.testing.assert_allclose((moved[:, 2] - moved[:, 0]) / (2 * h), -slope, atol=1e-7)


def test_balanced_layers():
    """v^2 = |b|^2 makes a = 0, an eigenvalue 0 of F."""
    net = Network(np.array([[[0.6, 0.8]]]), np.array([[1.0]]))
    x, y = np.eye(2)[None], np.array([[1.0, -2.0]])
    path = flow(net, x, y, times=TIMES).path
    assert distance(path, whitened_path(net, x, y, TIMES)) < 1e-8


@pytest.mark.parametrize(
    ("k", "scale"), [(2, [1.0, 1.0]), (1, [1.0, 1.1])], ids=["k = 2", "not white"]
)
def test_no_closed_path(k, scale):
    net = Network(np.ones((1, k, 2)), np.ones((1, k)))
    with pytest.raises(ValueError, match=r"k = 1 and inputs with X\^T X = c P_T"):
        whitened_path(net, np.diag(scale)[None], np.ones((1, 2)), TIMES)
