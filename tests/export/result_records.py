"""Records for the tests of surgicalft.export: small, with known means."""

from typing import Any

from surgicalft.sweep.record import Record


def record(
    accuracy: float | None = 50.0,
    selection: str = "last",
    seed: int = 0,
    rate: float = 0.1,
    valid: float | None = None,
    error: str = "",
    **settings: Any,
) -> Record:
    """A finished run, or a failed one where `error` says why; validation accuracy is the test's where none is given."""
    known = {"scenario": "glyphs-flip", "selection": selection, "learning_rate": rate, "seed": seed}
    chosen = known | settings
    outcome: dict[str, Any] = {"error": error}
    if not error:
        outcome |= {
            "epoch": 2,
            "valid_accuracy": accuracy if valid is None else valid,
            "valid_loss": 1.0,
            "test_accuracy": accuracy,
            "n_test": 900,
        }
    return Record(
        id="/".join(f"{value}" for value in chosen.values()),
        settings=chosen,
        status="failed" if error else "finished",
        provenance="embedded",
        device="cpu",
        wall_time=2.0,
        versions={"torch": "2.6"},
        created="2026-01-02T03:04:05+00:00",
        **outcome,
    )


def by_seed(accuracies: list[float], selection: str = "last", **settings: Any) -> list[Record]:
    """A run for each accuracy, with seeds 0, 1, ..."""
    return [record(a, selection, seed, **settings) for seed, a in enumerate(accuracies)]
