"""Fixed-step integrators converge with their order to the closed path."""

import numpy as np
import pytest
from instances_at_random import distance, flat, instance

from theory.descent import descend, gradient_descent
from theory.flow import flow
from theory.integrators import METHODS, integrate
from theory.networks import Network
from theory.whitened import whitened_path

CASE = instance(1, n=3, d=4, spread=1.0, noise=0.3)
TIME = 0.5


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(
    ("method", "order", "steps"),
    [("euler", 1, [200, 400, 800, 1600]), ("runge-kutta", 4, [10, 20, 40, 80])],
)
def test_order(method, order, steps):
    path = whitened_path(*CASE, np.array([TIME]))
    exact = Network(path.B[:, 0], path.v[:, 0])
    errors = [distance(integrate(*CASE, TIME, m, method), exact) for m in steps]
    assert slope(steps, errors) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("tune", ["first", "last", "all"])
@pytest.mark.parametrize("phi", ["linear", "relu"])
def test_runge_kutta_is_the_flow(tune, phi):
    """ReLU has kinks, where orders above 1 are lost: few hidden units, small steps."""
    case = instance(5, trials=2, k=2, phi=phi)
    end = flow(*case, tune=tune, phi=phi, times=np.array([0.2]))
    fixed = integrate(*case, 0.2, 2000, tune=tune, phi=phi)
    assert distance(fixed, end.net) < (1e-9 if phi == "linear" else 1e-5)


def test_euler_is_gradient_descent():
    end = descend(*CASE, gradient_descent(TIME / 50), 50)
    np.testing.assert_allclose(
        flat(end.net), flat(integrate(*CASE, TIME, 50, "euler")), rtol=1e-13, atol=1e-15
    )


def test_too_large_steps_raise():
    with pytest.raises(FloatingPointError):
        integrate(*CASE, 1e6, 20, "euler")


@pytest.mark.parametrize(
    ("time", "steps", "method", "message"),
    [
        (0.0, 5, "euler", "time must lie strictly between 0 and inf, not 0.0"),
        (np.nan, 5, "euler", "time must lie strictly between 0 and inf, not nan"),
        (1.0, 0, "euler", "steps must be an integer of at least 1, not 0"),
        (1.0, 5, "leapfrog", r"method must be one of \['euler', 'runge-kutta'\], not 'leapfrog'"),
    ],
)
def test_arguments(time, steps, method, message):
    with pytest.raises(ValueError, match=message):
        integrate(*CASE, time, steps, method)


def test_every_method_is_tested():
    assert set(METHODS) == {"euler", "runge-kutta"}
