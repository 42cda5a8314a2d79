"""The sign of v in the limit, case by case, against the flow and the closed path."""

import numpy as np
import pytest
from instances_at_random import instance

from theory.flow import flow
from theory.networks import Network
from theory.signs import is_whitened, keeps_sign, limit_sign, whitened_sign
from theory.whitened import whitened_path

X, Y = np.eye(2), np.array([1.0, 0.0])


def one(v, b):
    return Network(np.array([b], dtype=float), np.array([v], dtype=float))


def flow_sign(net, x, y):
    end = flow(net, x, y)
    assert end.status[0] == "converged"
    return np.sign(end.net.v[0, 0])


@pytest.mark.parametrize(
    ("net", "kept"),
    [
        (one(2.0, [-1, 0]), True),  # a > 0, though the loss, 9, is above |y|^2
        (one(-2.0, [1, 0]), True),
        (one(0.2, [0.5, 0]), True),  # a < 0, but the loss, 0.81, is below |y|^2
        (one(0.2, [-3, 0]), False),  # neither
    ],
)
def test_each_argument_alone(net, kept):
    assert keeps_sign(net, X, Y) == kept
    assert limit_sign(net, X, Y) == flow_sign(net, X, Y)


def test_a_sign_that_flips():
    """v = 0.1 against b = (-3, 0): b.w drives v through 0."""
    net = one(0.1, [-3, 0])
    assert is_whitened(X)
    assert limit_sign(net, X, Y) == whitened_sign(net, X, Y) == flow_sign(net, X, Y) == -1
    assert np.sign(whitened_path(net, X, Y, np.array([50.0])).v[0, 0]) == -1


def test_a_sign_that_flips_on_the_path():
    """Not whitened: no closed form, the path is asked."""
    net, x = one(0.1, [-3, 0.5]), np.diag([1.0, 2.0])
    y = np.array([1.0, 0.3])
    assert not is_whitened(x) and not keeps_sign(net, x, y)
    assert limit_sign(net, x, y) == flow_sign(net, x, y) == -1


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_many_at_random(spread):
    net, x, y = instance(0, trials=60, n=3, d=4, spread=spread)
    net = Network(net.B, 0.3 * net.v)
    end = flow(net, x, y)
    signs = limit_sign(net, x, y)
    assert set(end.status) == {"converged"}
    assert (signs == np.sign(end.net.v[:, 0])).all()
    flipped = signs != np.sign(net.v[:, 0])
    assert flipped.sum() > 5
    assert not (flipped & keeps_sign(net, x, y)).any()


def test_whitened_is_a_property_of_each_trial():
    x = np.stack([np.eye(3), np.diag([1.0, 1.0, 1.001]), 5 * np.eye(3)])
    assert is_whitened(x).tolist() == [True, False, True]
    assert is_whitened(np.diag([1.0, 1.0, 0.0]))  # zero singular values do not count
