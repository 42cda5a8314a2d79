"""A table as people read it: sensible digits, errors beside their means."""

import math
from collections import Counter
from typing import Any

import pandas as pd

_TITLES = {
    "mean": "mean ± s.e.",
    "binomial_error": "binomial s.e.",
    "paper": "paper",
    "n_failed": "failed runs",
    "n_scenarios": "scenarios",
    "n_test": "test images",
    "n_tune": "images to tune on",
    "learning_rates": "chosen learning rates",
    "forward_passes": "forward passes",
}
_FORMATS = {
    **dict.fromkeys(("binomial_error", "z", "block accuracy", "float32", "bfloat16"), ".2f"),
    "forward_passes": ",.0f",
}
_ERRORS = {  # which column is whose uncertainty, where it is not called <name>_error
    "mean": "standard_error",
    "accuracy": "error",
    "difference": "error",
    "told apart": "error",
}


def markdown(frame: pd.DataFrame, settings: dict[str, Any]) -> str:
    """A GitHub table, errors beside means; below it what all rows share, and the settings."""
    shown = pd.DataFrame({_TITLES.get(name, name): _texts(frame, name) for name in frame})
    errors = {column for name in frame if (column := _error(frame, name))}
    shown = shown.drop(columns=[*errors, *_ERRORS.values(), "paper_source"], errors="ignore")
    own = {_TITLES["mean"], "paper"}
    same = [n for n in shown if len(shown) > 1 and n not in own and shown[n].nunique() == 1]
    notes = {n: shown[n].iloc[0] for n in same}
    notes |= {n: _note(v) for n, v in settings.items() if n not in frame}
    if sources := _sources(frame):
        notes["the paper's values"] = _note(sources)
    shown = shown.drop(columns=same)
    rows = [list(shown), ["---"] * shown.shape[1], *shown.to_numpy().tolist()]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {n}: {note}" for n, note in notes.items())]) + "\n"


def uncertain(mean: float, error: float = math.nan) -> str:
    """`82.8 ± 0.6`, to two decimals where the error asks for them; a dash for what isn't there."""
    if math.isnan(mean):
        return "-"
    digits = 2 if 0.005 <= error < 0.095 else 1
    return f"{mean:.{digits}f} ± " + ("-" if math.isnan(error) else f"{error:.{digits}f}")


def _error(frame: pd.DataFrame, name: str) -> str | None:
    """The column of the uncertainty of `name`, where there is one."""
    return next((c for c in (_ERRORS.get(name), f"{name}_error") if c in frame), None)


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    if column := _error(frame, name):
        errors = frame[column]
        return [uncertain(*pair) for pair in zip(frame[name], errors, strict=True)]
    return [_text(name, value) for value in frame[name]]


def _text(name: str, value: Any) -> str:
    if name == "learning_rates":
        return ", ".join(f"{n} x {rate:g}" for rate, n in sorted(Counter(value).items())) or "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, float):
        rough = ".2f" if name.endswith("_error") else "g"
        return "-" if math.isnan(value) else format(value, _FORMATS.get(name, rough))
    return str(value) or "-"


def _sources(frame: pd.DataFrame) -> list[str]:
    return sorted(set(frame["paper_source"]) - {""}) if "paper_source" in frame else []


def _note(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_note(item)}" for name, item in value.items())
    return ", ".join(map(_note, value)) if isinstance(value, list | tuple) else str(value)
