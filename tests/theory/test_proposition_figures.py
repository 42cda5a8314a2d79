"""The notebook's grids and figures, on small tables."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from theory import proposition_figures
from theory.proposition_grids import GRIDS, get_grid, section_3_1_shifts
from theory.wrong_first_layer import by_share
from theory.wrong_last_layer import by_blur, by_condition


def words(figure: Figure) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.get_lines()}


@pytest.mark.parametrize("widths", [(4,), (2, 4), (2, 4, 6), (2, 3, 4, 6)])
def test_wrong_last_layer(widths):
    conditions = by_condition((1, 10), widths, 3, seeds=(3, 4))
    blurs = by_blur((0.5, 1.0), (0.0, 0.9), 4, 2, seeds=(5,))
    figure = proposition_figures.wrong_last_layer(conditions, blurs)
    a, b, c, d = figure.axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in (a, b, c, d)] == [
        "a  Stretch",
        "b  Turn and stretch",
        "c  Gaussian blur",
        "d  First layer, in float64",
    ]
    chosen = conditions.query("shift == 'turn and stretch' and k == 4")
    expected = chosen.groupby("condition")["last_layer"].median()
    np.testing.assert_allclose(lines(b)["last layer, k = 4"], expected)
    assert {len(line) for line in lines(b).values()} == {2}
    expected = blurs.query("rho == 0.9")["last_layer"]
    np.testing.assert_allclose(lines(c)["last layer, ρ = 0.9"], expected)
    for fact in ("2 seeds (3 to 4)", "seed 5", "exactly", "not simulated", "d = 3", "2 × 2 pixels"):
        assert fact in words(figure)
    figure.canvas.draw()


def test_wrong_first_layer():
    table = by_share(2, 2, seeds=(0, 1), restarts=1)
    figure = proposition_figures.wrong_first_layer(table)
    (axes,) = figure.axes
    np.testing.assert_allclose(lines(axes)["proved lower bound"], [1, 0, 1], atol=1e-12)
    for fact in ("t = -1", "k = 2", "d = 2", "2 seeds (0 to 1)", "exact", "best of 2 descents"):
        assert fact in words(figure)
    figure.canvas.draw()


def test_grids():
    assert {"embedded", "paper"} == set(GRIDS)
    small, fine = get_grid("embedded"), get_grid("paper")
    assert fine.n_seeds > small.n_seeds and len(fine.sigmas) > len(small.sigmas)
    assert all(grid.signed % 2 == 0 for grid in GRIDS.values())  # a share of one half occurs
    with pytest.raises(ValueError, match=r"profile must be one of \['embedded', 'paper'\], not"):
        get_grid("cifar")


def test_shifts_of_section_3_1():
    shifts = section_3_1_shifts(h=3, seed=0)
    assert all(np.linalg.matrix_rank(A) == 9 for A in shifts.values())
    assert sum(np.linalg.cond(A) < 1 + 1e-9 for A in shifts.values()) == 4
    with pytest.raises(ValueError, match="h must be an integer of at least 1, not 0"):
        section_3_1_shifts(h=0)
