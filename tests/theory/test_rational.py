"""Exact arrays: what is drawn, inverted and ranked."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import rational

quick = settings(deadline=None, max_examples=25)
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 5)


@quick
@given(seed=seeds, rows=sizes, columns=sizes)
def test_draws_are_fractions_in_range(seed, rows, columns):
    any_sign = rational.draw(np.random.default_rng(seed), rows, columns)
    positive = rational.draw(np.random.default_rng(seed), rows, columns, positive=True)
    assert any_sign.shape == positive.shape == (rows, columns)
    assert all(isinstance(q, Fraction) and -9 <= q <= 9 for q in any_sign.flat)
    assert all(isinstance(q, Fraction) and 0 < q <= 9 for q in positive.flat)


@quick
@given(seed=seeds, d=sizes)
def test_inverse_is_exact(seed, d):
    A = rational.draw_invertible(np.random.default_rng(seed), d)
    assert (A @ rational.inverse(A) == rational.identity(d)).all()
    assert rational.rank(A) == d


def test_rank_tells_singular_from_nearly_singular():
    tiny = Fraction(1, 10**40)
    singular = np.array([[Fraction(1), Fraction(2)], [Fraction(2), Fraction(4)]], dtype=object)
    nearly = singular + tiny * rational.identity(2)
    assert rational.rank(singular) == 1
    assert rational.rank(nearly) == 2
    assert np.linalg.matrix_rank(nearly.astype(float)) == 1  # which float64 cannot tell


def test_draws_of_both_signs_occur_and_seeds_differ():
    first, second = (rational.draw(np.random.default_rng(seed), 20) for seed in (0, 1))
    assert (first < 0).any() and (first > 0).any()
    assert (first != second).any()
