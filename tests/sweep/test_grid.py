"""Grids of runs."""

from dataclasses import dataclass, field

import pytest

from surgicalft.settings import identity
from surgicalft.sweep.grid import grid


@dataclass(frozen=True)
class Toy:
    scenario: str
    learning_rate: float = 1e-3
    seed: int = 0
    made: int = field(default=0, init=False)


BASE = Toy("glyphs-flip")


def test_every_combination_the_first_axis_slowest() -> None:
    runs = grid(BASE, seed=range(2), learning_rate=(rate for rate in (1e-3, 1e-2)))
    assert [(r.seed, r.learning_rate) for r in runs] == [(0, 1e-3), (0, 1e-2), (1, 1e-3), (1, 1e-2)]
    assert {r.scenario for r in runs} == {"glyphs-flip"}
    assert len({identity(r) for r in runs}) == 4


def test_without_axes_the_base_alone() -> None:
    assert grid(BASE) == [BASE]


def test_seed_zero_is_a_seed() -> None:
    assert [r.seed for r in grid(Toy("glyphs-flip", seed=5), seed=[0])] == [0]


def test_an_unknown_name_is_told_the_legal_ones() -> None:
    legal = r"legal: \['scenario', 'learning_rate', 'seed'\]"
    with pytest.raises(ValueError, match=rf"unknown Toy settings \['seeds'\]; {legal}"):
        grid(BASE, seeds=[0])
    with pytest.raises(ValueError, match="made"):
        grid(BASE, made=[0])


@pytest.mark.parametrize("axis", [[], (), iter(())])
def test_an_axis_without_values(axis: object) -> None:
    with pytest.raises(ValueError, match="no values given for seed"):
        grid(BASE, seed=axis)


@pytest.mark.parametrize("axis", ["last", 3, None])
def test_an_axis_that_is_no_list(axis: object) -> None:
    with pytest.raises(ValueError, match=f"list of values for scenario, not {axis!r}"):
        grid(BASE, scenario=axis)
