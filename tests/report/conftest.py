"""Records made by hand, for the tests of tables and figures."""

from collections.abc import Callable
from typing import Any

import pytest

from surgicalft.sweep.record import Record


def _record(
    test: float | None,
    valid: float | None = None,
    *,
    n_test: int = 900,
    device: str = "cpu",
    provenance: str = "made by hand",
    **settings: Any,
) -> Record:
    """A finished record of that test and validation accuracy; a failed one where `test` is None."""
    settings = {
        **{"scenario": "glyphs-c/fog", "model": "resnet14-bn", "selection": "block 1"},
        **{"method": "surgical", "n_tune": 200, "learning_rate": 1e-3, "seed": 0, "epochs": 15},
        **settings,
    }
    name = " ".join(f"{key}={settings[key]}" for key in sorted(settings))
    if test is None:
        return Record(name, settings, "failed", error="FloatingPointError: the loss is NaN")
    return Record(
        name,
        settings,
        "finished",
        epoch=3,
        valid_accuracy=test if valid is None else valid,
        valid_loss=1.0,
        test_accuracy=test,
        n_test=n_test,
        device=device,
        provenance=provenance,
        wall_time=2.0,
        versions={"torch": "2.6"},
        created="2024-01-01T00:00:00Z",
    )


@pytest.fixture
def record() -> Callable[..., Record]:
    return _record
