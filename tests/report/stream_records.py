"""Records of test-time runs made by hand: which images were predicted right is given, or drawn at a rate."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from surgicalft.sweep.record import Record

WINDOW = 50  # images that an entry of a record's history tells of


def adapted(
    correct: str | None,
    selection: str = "all",
    mode: str = "online",
    *,
    resets: Sequence[int] = (),
    collapsed_at: int | None = None,
    window: int = WINDOW,
    **settings: Any,
) -> Record:
    """A finished record of a stream of which `correct` says, image by image, what was right ("1"); None: it failed."""
    settings = {
        **{"scenario": "glyphs-c/fog", "model": "resnet8-bn-w8", "selection": selection},
        **{"learning_rate": 0.0 if selection == "none" else 1e-3, "method": "memo", "mode": mode},
        **{"optimizer": "sgd" if mode == "online" else "adamw", "weight_decay": 0.0, "steps": 1},
        **{"reset": False, "skip": 0, "n_images": 0, "per_class": 0, "without": "", "seed": 0},
        **{"pretrain": None, **settings},
    }
    name = " ".join(f"{key}={settings[key]}" for key in sorted(settings))
    if correct is None:
        return Record(name, settings, "failed", error="FloatingPointError: the loss is NaN")
    metrics = {"entropy": 0.5, "resets": float(len(resets))}
    return Record(
        name,
        settings,
        "finished",
        history=_history(correct, resets, window),
        test_accuracy=100 * correct.count("1") / len(correct),
        n_test=len(correct),
        provenance="made by hand",
        device="cpu",
        metrics=metrics | ({} if collapsed_at is None else {"collapsed_at": float(collapsed_at)}),
    )


def _history(correct: str, resets: Sequence[int], window: int) -> list[dict[str, Any]]:
    entries = []
    for start in range(0, len(correct), window):
        text = correct[start : start + window]
        entry = {"images": start + len(text), "correct": text, "entropy": 0.5, "top": 0.2}
        if any(start < after <= start + len(text) for after in resets):
            entry["reset"] = True
        entries.append(entry)
    return entries


def drawn(rate: float | Sequence[float], n: int = 500, seed: int = 0) -> str:
    """`n` images, each right where a number drawn for it, the same for all rates, is below `rate` (0 to 1)."""
    difficulty = np.random.default_rng(seed).random(n)
    return "".join("01"[int(value)] for value in difficulty < np.asarray(rate))
