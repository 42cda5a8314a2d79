"""Records of methods made by hand: what a run cost is among their metrics."""

from collections.abc import Sequence
from typing import Any

from surgicalft.sweep.record import Record


def run(
    test: float | None,
    passes: float | None = 100.0,
    *,
    valid: float | None = None,
    seconds: float = 2.0,
    history: Sequence[dict[str, Any]] = (),
    **settings: Any,
) -> Record:
    """A finished record of that test accuracy and cost; a failed one where `test` is None."""
    settings = {
        **{
            "scenario": "glyphs-case",
            "model": "resnet8-bn",
            "selection": "all",
            "method": "surgical",
        },
        **{"n_tune": 200, "learning_rate": 1e-3, "seed": 0, "epochs": 15},
        **settings,
    }
    name = " ".join(f"{key}={settings[key]}" for key in sorted(settings))
    if test is None:
        return Record(name, settings, "failed", error="Diverged: NaN", wall_time=seconds)
    return Record(
        name,
        settings,
        "finished",
        history=list(history),
        epoch=3,
        valid_accuracy=test if valid is None else valid,
        valid_loss=1.0,
        test_accuracy=test,
        n_test=900,
        device="cpu",
        provenance="made by hand",
        wall_time=seconds,
        metrics={} if passes is None else {"forward_passes": passes},
    )


ROWS: dict[str, dict[str, Any]] = {  # label -> settings
    "No Adaptation": {"selection": "none", "learning_rate": 0.0, "epochs": 0},
    "Cross-Val": {"selection": "block 1"},
    "All": {},
    "Auto-RGN": {"method": "auto-rgn"},
    "Halving": {"method": "halving"},
    "RGN after head": {"method": "auto-rgn", "variant": "after-head"},
}


def scenario(name: str, seed: int = 0, passes: float = 100.0, **accuracies: float) -> list[Record]:
    """One run per row on a scenario: `All=70.0, Cross_Val=80.0`."""
    return [
        run(test, passes, scenario=name, seed=seed, **ROWS[_label(label)])
        for label, test in accuracies.items()
    ]


def _label(word: str) -> str:
    return {"Cross_Val": "Cross-Val", "Auto_RGN": "Auto-RGN"}.get(word, word.replace("_", " "))
