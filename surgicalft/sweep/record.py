"""The record of a run, and how it is written as a row of SQLite.

JSON and SQLite have no NaN: a diverged loss, or a metric that nothing defines, is written as the text
"NaN", "Infinity" or "-Infinity" and read back as the number. So it stays visible, and the record keeps
its accuracy.
"""

import json
import math
import operator
from dataclasses import dataclass, field, fields
from typing import Any

from surgicalft.settings import check_choice

STATUSES = ("finished", "failed")
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Record:
    """What a run leaves. Accuracies in percent; `history` holds one dict per epoch."""

    id: str  # identity of the settings
    settings: dict[str, Any]
    status: str  # "finished" or "failed"
    error: str = ""  # why it failed: "TypeName: message"
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: int | None = None  # the chosen one
    valid_accuracy: float | None = None
    valid_loss: float | None = None
    test_accuracy: float | None = None
    n_test: int | None = None  # images behind test_accuracy
    provenance: str = ""  # where the target images came from
    device: str = ""
    wall_time: float = 0.0  # seconds
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""  # ISO 8601, UTC
    # Further ones of the test, by name. One that is NaN or infinite stays so.
    metrics: dict[str, float] = field(default_factory=dict)
    reuse: str = ""  # which frozen modules answered from memory, or why none did

    def __post_init__(self) -> None:
        check_choice("status", self.status, STATUSES)


COLUMNS = tuple(f.name for f in fields(Record))
_JSON = ("settings", "history", "versions", "metrics")
_FLOATS = ("valid_accuracy", "valid_loss", "test_accuracy", "wall_time")
_INTEGERS = ("epoch", "n_test")
_TEXTS = ("id", "error", "provenance", "device", "created", "reuse")


def to_row(record: Record) -> tuple[object, ...]:
    """The record as SQLite values, in the order of its fields.

    NumPy and PyTorch scalars become numbers. Settings must be finite.
    Raises TypeError or ValueError for what a row can't hold.
    """
    row = dict(zip(COLUMNS, (getattr(record, name) for name in COLUMNS), strict=True))
    row |= {name: _writable(row[name]) for name in ("history", "metrics")}
    row |= {name: json.dumps(row[name], allow_nan=False) for name in _JSON}
    for name in _FLOATS:
        value = row[name]
        row[name] = None if value is None else _writable(float(value))
    for name in _INTEGERS:
        row[name] = None if row[name] is None else operator.index(row[name])
        if row[name] is not None and not -(2**63) <= row[name] < 2**63:
            raise ValueError(f"{name} must fit in 64 bits, not {row[name]}")
    for name in _TEXTS:
        if not isinstance(row[name], str):
            raise TypeError(f"{name} must be a text, not {row[name]!r}")
        # SQLite holds UTF-8; the name of a folder may not be.
        row[name] = row[name].encode("utf-8", "backslashreplace").decode()
    return tuple(row.values())


def from_row(row: tuple[Any, ...]) -> Record:
    """The record that `to_row` wrote."""
    values = dict(zip(COLUMNS, row, strict=True))
    written = {name: values[name] for name in ("history", "metrics")}
    values |= {name: json.loads(values[name]) for name in _JSON}
    for name, text in written.items():
        if "NaN" in text or "Infinity" in text:
            values[name] = _readable(values[name])
    return Record(**values | {name: _readable(values[name]) for name in _FLOATS})


def _writable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
