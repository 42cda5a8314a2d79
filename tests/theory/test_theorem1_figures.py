"""Every picture of notebook 02 is drawn, with what it was given."""

from dataclasses import replace

import numpy as np
import pytest

from theory import theorem1_figures as figures
from theory.breaks import enough_data
from theory.comparisons import check_law, mean_excess
from theory.discrete_breaks import algorithms
from theory.phase import cost_curves, diagrams
from theory.plans import PLANS
from theory.theorem1 import Setting, draw, lowest_on_path, outcome

BASE = Setting(n=8, d_src=10, d_orth=2)
PLAN = replace(
    PLANS["embedded"],
    n=(4, 12),
    d_src=(4, 12),
    d_orth=(1, 2),
    sigma_B=(0.1, 1.0),
    cell_trials=5,
    paths=5,
)


@pytest.fixture(scope="module")
def drawn():
    return draw(BASE, 6, np.random.default_rng(0))


def texts(figure):
    figure.draw_without_rendering()
    shown = [text.get_text() for text in figure.texts]
    return shown + [text for a in figure.axes for text in (a.get_title("left"), a.get_xlabel())]


def test_paths():
    losses = np.geomspace(1, 1e-20, 5) * np.ones((2, 1))
    figure = figures.paths(np.geomspace(1, 9, 5), losses, losses, np.full(2, 0.1), "caption")
    assert "caption" in texts(figure) and len(figure.axes) == 2
    drawn = figure.axes[0].lines[0].get_ydata()
    assert drawn.min() == figures.FLOOR  # a loss of 0 has no logarithm


def test_law(drawn):
    figure = figures.law(check_law(drawn), mean_excess(BASE, (8, 12), 20), "caption")
    assert {"law and flow", "when v grows", "mean over the data"} <= set(_all_titles(figure))


def test_lemma2(drawn):
    figure = figures.lemma2(outcome(drawn), lowest_on_path(drawn), "caption")
    assert len(figure.axes[0].lines[0].get_xdata()) == 6


def test_costs_and_phases():
    curves, charts = cost_curves(BASE, PLAN), diagrams(BASE, PLAN)
    assert {"n", "d_src", "d_orth", "sigma_B"} <= set(texts(figures.costs(curves, "caption")))
    assert "target examples n" in texts(figures.phases(charts, "caption"))


def test_breaks(drawn):
    figure = figures.breaks([enough_data(BASE, (4, 30), 5), algorithms(drawn)], "caption")
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()][-1] == "Adam"


def _all_titles(figure):
    return [
        axis.get_title(loc)
        for axis in figure.axes
        for loc in ("left", "center")
        if axis.get_title(loc)
    ]
