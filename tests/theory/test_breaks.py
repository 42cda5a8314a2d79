"""Each break of Theorem 1 shows what its sentence says."""

from dataclasses import replace

import numpy as np
import pytest

from theory import breaks, discrete_breaks
from theory.plans import PLANS
from theory.theorem1 import Setting, draw

BASE = Setting(n=8, d_src=10, d_orth=2)
ROUNDING = 1e-18


def medians(item):
    assert item.first.shape == item.full.shape == (len(item.values), item.first.shape[1])
    return np.median(item.first, axis=1), np.median(item.full, axis=1)


@pytest.fixture(scope="module")
def drawn():
    return draw(BASE, 12, np.random.default_rng(0))


def test_enough_data():
    first, full = medians(breaks.enough_data(BASE, (8, 60), trials=40))
    assert (first < ROUNDING).all()
    assert full[0] > 1e-6 and full[1] < ROUNDING


def test_label_noise():
    first, full = medians(breaks.label_noise(BASE, (0.0, 0.01, 1.0), trials=60))
    assert first[0] < ROUNDING < first[1] < first[2]
    assert first[1] < full[1]
    assert full[2] / first[2] < 3 < full[1] / first[1]  # the gap closes
    assert first[2] / first[1] == pytest.approx(1e4, rel=1e-6)  # quadratic in the noise


def test_wider():
    first, full = medians(breaks.wider(BASE, (1, 3), trials=6))
    assert (first < ROUNDING).all() and (full > 1e-6).all()


def test_early_stopping():
    item = breaks.early_stopping(BASE, trials=30)
    end, best, bound = item.full
    assert (bound <= best * (1 + 1e-9)).all() and (best <= end * (1 + 1e-6)).all()
    assert (best < 0.99 * end).any()


def test_rectified():
    first, full = medians(breaks.rectified(BASE, (10,), trials=6))
    assert 1e-6 < first[0] < full[0]


def test_large_steps(drawn):
    first, full = medians(discrete_breaks.large_steps(drawn, (0.5, 1.2)))
    assert first[0] < ROUNDING < full[0]
    assert first[1] > 1  # diverged


def test_algorithms(drawn):
    first, full = medians(discrete_breaks.algorithms(drawn))
    assert (first[:3] < ROUNDING).all()  # flow, gradient descent, momentum
    assert first[3] > 1e-6  # Adam leaves the span
    assert (full > 1e-6).all()


def test_weight_decay(drawn):
    first, _ = medians(discrete_breaks.weight_decay(drawn, (0.0, 1e-3, 0.1)))
    assert first[0] < ROUNDING < first[1] < first[2]


def test_every_break_of_a_plan_has_a_title_and_a_sentence():
    plan = replace(PLANS["embedded"], n=(8, 30), k=(1,), n_relu=(10,), paths=4, wide=1)
    items = [*breaks.all_breaks(BASE, plan), *discrete_breaks.all_breaks(BASE, plan)]
    assert len({item.title for item in items}) == 8
    assert all(item.sentence.endswith(".") and item.label for item in items)
    assert all(not item.ticks or len(item.ticks) == len(item.values) for item in items)
