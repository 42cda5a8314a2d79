"""Random shifts, brightness, blur and its closed-form condition number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from theory.linear_shifts import (
    blur,
    blur_condition,
    brightness,
    orthogonal,
    pixel_covariance,
    stretch,
    turn_and_stretch,
)

quick = settings(deadline=None, max_examples=25)
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 6)
conditions = st.floats(1, 1e4)


@quick
@given(seed=seeds, d=sizes)
def test_orthogonal(seed, d):
    Q = orthogonal(np.random.default_rng(seed), d)
    np.testing.assert_allclose(Q @ Q.T, np.eye(d), atol=1e-13)


def test_orthogonal_is_uniform():
    """Haar: E Q_11 = 0 and E Q_11^2 = 1/d; numpy's QR alone has Q_11 of one sign."""
    rng = np.random.default_rng(0)
    corner = np.array([orthogonal(rng, 3)[0, 0] for _ in range(2000)])
    assert abs(corner.mean()) < 4 * corner.std() / np.sqrt(2000)
    assert abs((corner**2).mean() - 1 / 3) < 4 * (corner**2).std() / np.sqrt(2000)


@pytest.mark.parametrize("make", [stretch, turn_and_stretch])
@quick
@given(seed=seeds, d=sizes, condition=conditions)
def test_singular_values(make, seed, d, condition):
    A = make(np.random.default_rng(seed), d, condition)
    s = np.linalg.svd(A, compute_uv=False)
    assert s[0] / s[-1] == pytest.approx(condition if d > 1 else 1, rel=1e-9)
    assert s.prod() == pytest.approx(1, rel=1e-9)
    assert s[:-1] / s[1:] == pytest.approx(condition ** (1 / max(d - 1, 1)), rel=1e-9)


@quick
@given(seed=seeds, d=sizes, condition=conditions)
def test_stretch_is_symmetric_and_positive(seed, d, condition):
    A = stretch(np.random.default_rng(seed), d, condition)
    np.testing.assert_allclose(A, A.T, atol=1e-10 * condition)
    assert np.linalg.eigvalsh((A + A.T) / 2).min() > 0


def test_turn_and_stretch_is_not_symmetric():
    A = turn_and_stretch(np.random.default_rng(0), 3, 1)
    assert np.abs(A - A.T).max() > 0.1


def test_brightness():
    np.testing.assert_array_equal(brightness(2, 3), 2 * np.eye(3))


@pytest.mark.parametrize(("boundary", "mode"), [("reflect", "reflect"), ("zero", "constant")])
@pytest.mark.parametrize(("sigma", "h"), [(0.2, 3), (1, 5), (2, 4), (0.7, 1)])
def test_blur_is_scipys(boundary, mode, sigma, h):
    patch = np.random.default_rng(0).standard_normal((h, h))
    theirs = gaussian_filter(patch, sigma, mode=mode, truncate=9)
    ours = (blur(sigma, h, boundary) @ patch.ravel()).reshape(h, h)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("boundary", ["reflect", "zero"])
@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.2])
def test_blur_is_symmetric_and_positive_definite(boundary, sigma):
    A = blur(sigma, 5, boundary)
    np.testing.assert_allclose(A, A.T, atol=1e-15)
    assert np.linalg.eigvalsh(A).min() > 0


def test_what_the_boundaries_do_to_a_flat_patch():
    np.testing.assert_allclose(blur(1, 4, "reflect").sum(axis=1), 1, rtol=1e-13)
    assert blur(1, 4, "zero").sum(axis=1).max() < 1


@pytest.mark.parametrize("h", [1, 2, 5, 8])
@pytest.mark.parametrize("sigma", [0.1, 0.4, 1, 1.3])
def test_condition_in_closed_form(sigma, h):
    exact = np.linalg.cond(blur(sigma, h))
    assert blur_condition(sigma, h) == pytest.approx(exact, rel=1e-7)


def test_condition_grows_as_the_exponential_of_the_squared_width():
    for sigma in (1, 2, 3):
        simple = np.exp(np.pi**2 * sigma**2 * (1 - 1 / 32) ** 2)
        assert 1 / 4 < blur_condition(sigma, 32) / simple < 1
    assert blur_condition(50, 32) == np.inf


def test_pixel_covariance_is_separable():
    Sigma = pixel_covariance(3, 0.5)
    assert Sigma[0, 0] == 1
    assert Sigma[0, 1] == Sigma[0, 3] == 0.5  # the next in the row, the next in the column
    assert Sigma[0, 8] == 0.5**4  # the opposite corner
    np.testing.assert_array_equal(pixel_covariance(3, 0), np.eye(9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stretch(np.random.default_rng(0), 3, 0.5), "condition must be at least 1 .* 0.5"),
        (lambda: stretch(np.random.default_rng(0), 3, np.inf), "condition must .* finite, not inf"),
        (lambda: turn_and_stretch(np.random.default_rng(0), 3, np.nan), "condition must .* nan"),
        (lambda: orthogonal(np.random.default_rng(0), 0), "d must be an integer of at least 1"),
        (lambda: brightness(0, 3), "s must lie strictly between 0 and inf, not 0"),
        (lambda: brightness(-1, 3), "s must lie strictly between 0 and inf, not -1"),
        (lambda: blur(0, 3), "sigma must lie strictly between 0 and inf, not 0"),
        (lambda: blur(-1, 3), "sigma must lie strictly between 0 and inf, not -1"),
        (lambda: blur(1, 0), "h must be an integer of at least 1, not 0"),
        (lambda: blur(1, 3, "wrap"), r"boundary must be one of \['reflect', 'zero'\], not 'wrap'"),
        (lambda: blur_condition(0, 3), "sigma must lie strictly between 0 and inf, not 0"),
        (lambda: pixel_covariance(3, 1), "rho must be at least 0 and below 1, not 1"),
        (lambda: pixel_covariance(3, -0.1), "rho must be at least 0 and below 1, not -0.1"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
