"""A grid of runs: every combination of the values of some settings."""

from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import product
from typing import Any, TypeVar

T = TypeVar("T")


def grid(base: T, **axes: Iterable[Any]) -> list[T]:
    """`base`, a dataclass, with the named settings replaced by every combination of the values.

    The first axis varies slowest. Without axes: [base].
    Raises ValueError for a name that is no setting (with the legal ones), an axis without values,
    or one that is no list.

    >>> grid(run, selection=["block 1", "last"], seed=range(3))  # 6 runs; doctest: +SKIP
    """
    legal = [f.name for f in fields(base) if f.init]  # type: ignore[arg-type]
    unknown = sorted(set(axes) - set(legal))
    if unknown:
        raise ValueError(f"unknown {type(base).__name__} settings {unknown}; legal: {legal}")
    values = [_values(name, axis) for name, axis in axes.items()]
    return [replace(base, **dict(zip(axes, point, strict=True))) for point in product(*values)]  # type: ignore[type-var]


def _values(name: str, axis: Iterable[Any]) -> list[Any]:
    # A text would otherwise be taken letter by letter.
    if isinstance(axis, str | bytes) or not isinstance(axis, Iterable):
        raise ValueError(f"give a list of values for {name}, not {axis!r}")
    values = list(axis)
    if not values:
        raise ValueError(f"no values given for {name}")
    return values
