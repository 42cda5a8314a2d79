"""Theorem 1's inputs: bases, densities, shares, moments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.distributions import DENSITIES, Shift, random_shift

E = np.eye(4)


def generator(seed=0):
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=20)
@given(
    d_src=st.integers(1, 6), d_orth=st.integers(1, 6), spare=st.integers(0, 3), seed=st.integers(0)
)
def test_random_subspaces(d_src, d_orth, spare, seed):
    shift = random_shift(generator(seed), d_src + d_orth + spare, d_src, d_orth)
    both = np.concatenate([shift.S_src, shift.S_orth], axis=1)
    np.testing.assert_allclose(both.T @ both, np.eye(d_src + d_orth), atol=1e-13)
    assert (shift.d, shift.d_src, shift.d_orth) == (d_src + d_orth + spare, d_src, d_orth)


@pytest.mark.parametrize("density", DENSITIES)
def test_moments(density):
    """Each entry within 5 standard errors; columns need not be orthonormal."""
    S_src = np.array([[1.0, 0.5], [0.0, 2.0], [0, 0], [0, 0]])
    shift = Shift(S_src, 3 * E[:, 2:3], density)
    n = 40_000
    for x, Sigma in (
        (shift.source(generator(1), n)[0], shift.Sigma_src),
        (shift.orthogonal(generator(2), n)[0], 9 * np.outer(E[2], E[2])),
        (shift.target(generator(3), n)[0][0], shift.Sigma_trg),
    ):
        products = x[:, :, None] * x[:, None, :]
        error = products.std(0) / np.sqrt(n)
        assert (np.abs(products.mean(0) - Sigma) <= 5 * error + 1e-12).all()
        assert (np.abs(x.mean(0)) <= 5 * x.std(0) / np.sqrt(n) + 1e-12).all()


def test_target_second_moment_is_half_of_each():
    shift = random_shift(generator(), 5, 2, 2)
    Sigma_orth = shift.S_orth @ shift.S_orth.T
    np.testing.assert_allclose(shift.Sigma_trg, 0.5 * shift.Sigma_src + 0.5 * Sigma_orth)


def test_uniform_components_are_bounded():
    x = Shift(E[:, :2], E[:, 2:3], "uniform").source(generator(), 5000)
    assert 1.7 < np.abs(x).max() <= np.sqrt(3)


def test_the_mixture_says_where_each_example_comes_from():
    shift = random_shift(generator(), 6, 3, 2)
    x, is_orth = shift.target(generator(0), 500, trials=20)
    assert x.shape == (20, 500, 6) and is_orth.shape == (20, 500)
    assert abs(is_orth.mean() - 0.5) < 5 * 0.5 / np.sqrt(is_orth.size)
    np.testing.assert_allclose(x[is_orth] @ shift.S_src, 0, atol=1e-13)
    np.testing.assert_allclose(x[~is_orth] @ shift.S_orth, 0, atol=1e-13)


def test_a_seed_is_a_seed():
    """0 too."""
    shift = random_shift(generator(0), 6, 3, 2)
    again = random_shift(generator(0), 6, 3, 2)
    other = random_shift(generator(1), 6, 3, 2)
    assert (shift.S_src == again.S_src).all() and (shift.S_src != other.S_src).any()
    draws = [shift.source(generator(seed), 4, 2) for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all() and (draws[0] != draws[2]).any()
    assert draws[0].shape == (2, 4, 6)


@pytest.mark.parametrize(
    ("S_src", "S_orth", "message"),
    [
        (E[:, [0, 0]], E[:, 2:3], r"S_src must have 1 to 4 .* of its 2, 1 are"),
        (E[:, :2], np.zeros((4, 1)), r"S_orth must have 1 to 4 .* of its 1, 0 are"),
        (E[:, :0], E[:, 2:3], r"S_src must have 1 to 4 .* of its 0, 0 are"),
        (E[:, :2], E[:, 1:3], r"must be orthogonal; one pair has cosine 1\b"),
        (E[:, :2], E[:, 2:3] + 1e-3 * E[:, :1], r"must be orthogonal; .* cosine 0\.001"),
        (E[:, :2], np.eye(3)[:, 2:], "S_src has 4 rows, but S_orth 3"),
        (np.full((4, 1), np.nan), E[:, 2:3], "S_src must be finite, but holds nan"),
        (E[:, :2], E[:, 2], r"S_orth must have 2 axes, not shape \(4,\)"),
    ],
)
def test_bases_that_are_none(S_src, S_orth, message):
    with pytest.raises(ValueError, match=message):
        Shift(S_src, S_orth)


def test_unknown_density():
    with pytest.raises(ValueError, match=r"density must be one of \['gaussian', .*, not 'cauchy'"):
        Shift(E[:, :1], E[:, 1:2], "cauchy")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((4, 3, 2), "d must be an integer of at least 5, not 4"),
        ((4, 0, 2), "d_src must be an integer of at least 1, not 0"),
        ((4, 2, 1.5), "d_orth must be an integer of at least 1, not 1.5"),
    ],
)
def test_sizes_that_do_not_exist(sizes, message):
    with pytest.raises(ValueError, match=message):
        random_shift(generator(), *sizes)


@pytest.mark.parametrize("draw", ["source", "orthogonal", "target"])
@pytest.mark.parametrize(("n", "trials", "name"), [(0, 1, "n"), (3, 0, "trials"), (-1, 1, "n")])
def test_no_draws(draw, n, trials, name):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
        getattr(Shift(E[:, :2], E[:, 2:3]), draw)(generator(), n, trials)
