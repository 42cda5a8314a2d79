"""Rows that meet conditions such as `n_tune>=200`: typed by what a column holds.

NAME=VALUE, NAME!=VALUE, NAME<VALUE, NAME<=VALUE, NAME>VALUE, NAME>=VALUE, NAME~PATTERN (of the shell: * and ?).
`=` and `!=` take several values, `selection=last|all`; a value left away, `variant=`, means absent or empty.
"""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from surgicalft.export.columns import check_names, is_absent
from surgicalft.sweep.frame import to_frame
from surgicalft.sweep.record import Record

ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(r"(?P<name>[^=!<>~]+)(?P<operator>==|!=|<=|>=|=|<|>|~)(?P<value>.*)", re.DOTALL)
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Condition:
    """One condition; `value` as it was written."""

    name: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"


def parse(text: str) -> Condition:
    """`NAME=VALUE` and the like; ValueError for anything else."""
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise ValueError(
            f"a condition is NAME=VALUE, with =, !=, <, <=, >, >= or ~ between them, not {text!r}"
        )
    name, sign, value = (found[part].strip() for part in ("name", "operator", "value"))
    return Condition(name, "=" if sign == "==" else sign, value)


def select(frame: pd.DataFrame, conditions: Iterable[str | Condition]) -> pd.DataFrame:
    """The rows of a table that meet all conditions.

    Numbers are compared as numbers, texts as texts; in a column of both, a value that reads as a number is
    compared with the numbers. A row without the value meets `!=` and no other condition.
    Raises ValueError for a name that is no column (with the legal ones), and for a value that does not parse where
    the column holds numbers, or truths, only.
    """
    keep = pd.Series(True, index=frame.index)
    for one in conditions:
        condition = parse(one) if isinstance(one, str) else one
        check_names("column", [condition.name], list(frame))
        keep &= _meets(frame[condition.name], condition)
    return frame[keep]


def select_records(
    records: Sequence[Record], conditions: Iterable[str | Condition]
) -> list[Record]:
    """The records whose rows in `to_frame` meet all conditions; see `select`."""
    return [records[i] for i in select(to_frame(records), conditions).index]


def _meets(column: pd.Series, condition: Condition) -> pd.Series:
    values = list(column)
    holds = _test(condition, {_kind(value) for value in values if not is_absent(value)})
    return pd.Series([holds(value) for value in values], index=column.index, dtype=bool)


def _kind(value: object) -> str:
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "truth"
    return "number" if hasattr(value, "__float__") else "text"


def _test(condition: Condition, kinds: set[str]) -> Callable[[Any], bool]:
    """What tells of a cell whether it meets the condition, in a column of such values."""
    if condition.operator == "~":
        return lambda cell: not is_absent(cell) and fnmatchcase(_text(cell), condition.value)
    if condition.operator in ORDERED:
        return _ordered(condition, kinds)
    wanted = [_parsed(text.strip(), condition, kinds) for text in condition.value.split("|")]
    among = lambda cell: any(_equal(cell, value) for value in wanted)  # noqa: E731
    return among if condition.operator == "=" else lambda cell: not among(cell)


def _ordered(condition: Condition, kinds: set[str]) -> Callable[[Any], bool]:
    compare, value = ORDERED[condition.operator], _parsed(condition.value, condition, kinds)
    if is_absent(value) or isinstance(value, bool):
        raise ValueError(f"{condition}: nothing is larger or smaller than {condition.value!r}")
    kind = _kind(value)
    return lambda cell: not is_absent(cell) and _kind(cell) == kind and compare(cell, value)


def _parsed(text: str, condition: Condition, kinds: set[str]) -> Any:
    """The value as the column's own type; as a number, or else as text, where it holds both."""
    if text == "":
        return None
    if "truth" in kinds and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    if kinds == {"truth"}:
        raise ValueError(f"{condition}: {condition.name} is true or false, not {text!r}")
    if "number" not in kinds:
        return text
    try:
        return float(text)
    except ValueError:
        if kinds == {"number"}:
            raise ValueError(f"{condition}: {condition.name} is a number, not {text!r}") from None
        return text


def _equal(cell: Any, value: Any) -> bool:
    if is_absent(cell) or is_absent(value):
        return is_absent(cell) and is_absent(value)
    return bool(_kind(cell) == _kind(value) and cell == value)


def _text(cell: Any) -> str:
    return f"{cell:g}" if isinstance(cell, float) else str(cell)
