"""Records as a pandas table and as files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from surgicalft.settings import check_choice
from surgicalft.sweep.record import Record

_METRICS = ("valid_accuracy", "valid_loss", "test_accuracy", "wall_time")
_COUNTS = ("epoch", "n_test")
_NESTED = ("settings", "versions", "history", "metrics")
SUFFIXES = (".csv", ".parquet")


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record, without history.

    Columns: id, status; each setting by its name, nested ones as `pretrain.epochs`, lists as JSON
    text, which can be grouped by (a setting called like a field of the record becomes
    `settings.NAME`); the outcome; `metrics.worst_group`, `versions.torch` and the like. An absent
    metric is NaN, an absent count <NA>.
    """
    frame = pd.DataFrame([_flat(record) for record in records])
    if not records:
        frame = pd.DataFrame(columns=[f.name for f in fields(Record) if f.name not in _NESTED])
    return frame.astype(dict.fromkeys(_METRICS, "float64") | dict.fromkeys(_COUNTS, "Int64"))


def write_frame(frame: Callable[[], pd.DataFrame], path: Path) -> None:
    """Write the table to `path`, whose suffix is .csv or .parquet; ValueError if it is neither."""
    check_choice("the suffix of an export", path.suffix, SUFFIXES)
    if path.suffix == ".csv":
        frame().to_csv(path, index=False)
    else:
        _one_type_per_column(frame()).to_parquet(path, index=False)


def leaves(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, `pretrain.epochs`; lists as JSON text."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= leaves(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat


def _flat(record: Record) -> dict[str, Any]:
    own = {f.name: getattr(record, f.name) for f in fields(Record) if f.name not in _NESTED}
    settings = {
        f"settings.{name}" if name in own else name: value
        for name, value in leaves(record.settings).items()
    }
    first = {name: own.pop(name) for name in ("id", "status")}
    measured = leaves(record.metrics, "metrics.")
    return first | settings | own | measured | leaves(record.versions, "versions.")


def _one_type_per_column(frame: pd.DataFrame) -> pd.DataFrame:
    """Parquet wants one type per column: settings that are text here, numbers there turn text."""
    for name in frame.select_dtypes("object").columns:
        if frame[name].dropna().map(type).nunique() > 1:
            frame[name] = frame[name].map(str, na_action="ignore")
    return frame
