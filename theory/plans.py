"""How fine the grids of notebook 02 are, by profile: the embedded one takes under a minute on one core."""

from dataclasses import dataclass

from theory import checks


@dataclass(frozen=True)
class Plan:
    """trials: draws for a number that the exact laws give; paths: draws that are integrated; wide: draws of
    the slow flows (k > 1, ReLU). The other fields are grids."""

    trials: int
    cell_trials: int  # in a cell of a phase diagram
    paths: int
    wide: int
    n: tuple[int, ...]
    d_src: tuple[int, ...]
    d_orth: tuple[int, ...]
    sigma_B: tuple[float, ...]
    k: tuple[int, ...]
    n_relu: tuple[int, ...]


PLANS = {
    "embedded": Plan(
        trials=4000,
        cell_trials=100,
        paths=200,
        wide=12,
        n=(4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48),
        d_src=(4, 8, 12, 16, 20, 24, 28),
        d_orth=(1, 2, 4, 6, 8),
        sigma_B=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        k=(1, 2, 4),
        n_relu=(18, 60, 120),
    ),
    "paper": Plan(
        trials=20_000,
        cell_trials=1000,
        paths=1000,
        wide=30,
        n=tuple(range(2, 61, 2)),
        d_src=tuple(range(2, 41, 2)),
        d_orth=tuple(range(1, 13)),
        sigma_B=(0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0),
        k=(1, 2, 4, 8),
        n_relu=(18, 30, 60, 120, 240),
    ),
}


def get_plan(profile: str) -> Plan:
    """The plan of a profile, "embedded" or "paper"."""
    checks.choice("profile", profile, tuple(PLANS))
    return PLANS[profile]
