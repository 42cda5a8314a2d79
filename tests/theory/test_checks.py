"""Every check passes what is allowed, and its error names the argument, the value and what is allowed."""

import numpy as np
import pytest

from theory import checks


def test_array_converts_to_float64():
    made = checks.array("A", [[1, 2], [3, 4]], ndim=2)
    assert made.dtype == np.float64
    assert made.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_array_of_other_axes(shape):
    assert checks.array("A", np.zeros(shape)).shape == shape
    with pytest.raises(ValueError, match=r"A must have 2 axes, not shape \(" + str(shape)[1:-1]):
        checks.array("A", np.zeros(shape), ndim=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_array_that_is_not_finite(bad):
    with pytest.raises(ValueError, match=rf"v must be finite, but holds {bad} \(1 of 3\)"):
        checks.array("v", [0, bad, 1])


@pytest.mark.parametrize("allowed", [(3, 4), (None, 4), (3, None), (4,), (None,), (2, 3, 4)])
def test_shape_fits_the_last_axes(allowed):
    checks.shape("B", np.zeros((2, 3, 4)), allowed)


@pytest.mark.parametrize("allowed", [(4, 3), (None, 3), (5,), (1, 2, 3, 4)])
def test_shape_that_does_not_fit(allowed):
    with pytest.raises(ValueError, match=r"B has shape \(2, 3, 4\); its last axes must be"):
        checks.shape("B", np.zeros((2, 3, 4)), allowed)


def test_shape_prints_any_for_none():
    with pytest.raises(ValueError, match=r"\(any, 3\)"):
        checks.shape("B", np.zeros((2, 4)), (None, 3))


@pytest.mark.parametrize("value", [1, 7, 2.0, np.int64(5)])
def test_at_least(value):
    assert checks.at_least("k", value, 1) == value
    assert isinstance(checks.at_least("k", value, 1), int)


@pytest.mark.parametrize("value", [0, -3, 1.5, True])
def test_not_at_least(value):
    with pytest.raises(ValueError, match=f"k must be an integer of at least 1, not {value}"):
        checks.at_least("k", value, 1)


def test_between():
    assert checks.between("delta", 0.25, 0, 1) == 0.25
    for value in (0, 1, -0.1, 2, float("nan")):
        with pytest.raises(
            ValueError, match=f"delta must lie strictly between 0 and 1, not {value}"
        ):
            checks.between("delta", value, 0, 1)


def test_choice():
    checks.choice("density", "uniform", ("gaussian", "uniform"))
    with pytest.raises(
        ValueError, match=r"density must be one of \['gaussian', 'uniform'\], not 'normal'"
    ):
        checks.choice("density", "normal", ("uniform", "gaussian"))


def test_nonzero():
    checks.nonzero("v", np.array([[0.0, 1e-300], [2.0, 0.0]]))
    with pytest.raises(ValueError, match="v must not be 0, but 2 of 3 are"):
        checks.nonzero("v", np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
