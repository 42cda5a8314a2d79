"""How finely the notebook on Propositions 1 and 2 looks: a demonstration, and the grids for print."""

from dataclasses import dataclass

import numpy as np

from theory import checks
from theory.linear_shifts import blur, brightness, orthogonal
from theory.networks import Array


@dataclass(frozen=True)
class Grid:
    sizes: tuple[tuple[int, int], ...]  # (k, d) of the instances with finite support
    attacks: int  # random starts against each of them
    conditions: tuple[float, ...]  # of A
    widths: tuple[int, ...]  # k where the condition number varies
    d: int  # inputs where the condition number varies
    sigmas: tuple[float, ...]  # of the blur, pixels
    rhos: tuple[float, ...]  # correlations of neighbouring pixels
    patch: int  # h of h x h patches
    patch_width: int  # k on patches
    signed: int  # k = d where the signs of v_pre vary
    restarts: int  # random starts for each of those
    n_seeds: int  # for what is exact
    n_sign_seeds: int  # for what is searched


GRIDS = {
    "embedded": Grid(
        sizes=((1, 1), (3, 2), (8, 6)),
        attacks=10,
        conditions=(1, 2, 4, 10, 30, 100, 300, 1000),
        widths=(10, 40, 160),
        d=10,
        sigmas=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.25, 1.5, 2, 2.5, 3),
        rhos=(0.0, 0.95),
        patch=8,
        patch_width=64,
        signed=6,
        restarts=4,
        n_seeds=5,
        n_sign_seeds=5,
    ),
    "paper": Grid(
        sizes=((1, 1), (1, 4), (3, 2), (8, 6), (20, 10)),
        attacks=50,
        conditions=tuple(float(c) for c in np.geomspace(1, 1e4, 17)),
        widths=(10, 40, 160, 640),
        d=10,
        sigmas=tuple(float(s) for s in np.round(np.arange(0.2, 3.05, 0.1), 2)),
        rhos=(0.0, 0.95),
        patch=12,
        patch_width=144,
        signed=10,
        restarts=20,
        n_seeds=20,
        n_sign_seeds=10,
    ),
}


def get_grid(profile: str) -> Grid:
    """The grid of a profile; ValueError with the legal names for another."""
    checks.choice("profile", profile, GRIDS)
    return GRIDS[profile]


def section_3_1_shifts(h: int = 4, seed: int = 0) -> dict[str, Array]:
    """The input shifts of section 3.1 by name, each (h^2, h^2), and two of condition number 1 beside them."""
    checks.at_least("h", h, 1)
    d = h * h
    turn = orthogonal(np.random.default_rng(checks.at_least("seed", seed, 0)), d)
    return {
        "brightness, s = 0.5": brightness(0.5, d),
        "brightness, s = 2": brightness(2, d),
        "blur, σ = 0.5": blur(0.5, h),
        "blur, σ = 1": blur(1, h),
        "random rotation": turn,
        "A = -I": -np.eye(d),
    }
