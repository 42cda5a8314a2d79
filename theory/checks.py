"""What arguments must satisfy: a ValueError names the argument, its value and what is allowed."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory.networks import Array


def array(name: str, value: ArrayLike, ndim: int | None = None) -> Array:
    """`value` as float64, finite, of `ndim` axes if that is given."""
    result = np.asarray(value, dtype=np.float64)
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, not shape {result.shape}")
    if not np.isfinite(result).all():
        bad = result[~np.isfinite(result)]
        raise ValueError(f"{name} must be finite, but holds {bad[0]} ({bad.size} of {result.size})")
    return result


def shape(name: str, value: Array, allowed: tuple[int | None, ...]) -> None:
    """The last axes of `value` are `allowed`, None for any length."""
    got = value.shape[-len(allowed) :]
    fits = len(got) == len(allowed) and all(
        want in (None, have) for want, have in zip(allowed, got, strict=True)
    )
    if not fits:
        want = ", ".join("any" if length is None else str(length) for length in allowed)
        raise ValueError(f"{name} has shape {value.shape}; its last axes must be ({want})")


def at_least(name: str, value: int, smallest: int) -> int:
    """`value` as an integer that is no smaller than `smallest`."""
    if isinstance(value, bool) or int(value) != value or value < smallest:
        raise ValueError(f"{name} must be an integer of at least {smallest}, not {value}")
    return int(value)


def between(name: str, value: float, low: float, high: float) -> float:
    """low < value < high."""
    if not low < value < high:
        raise ValueError(f"{name} must lie strictly between {low} and {high}, not {value}")
    return float(value)


def choice(name: str, value: Any, legal: Collection[Any]) -> None:
    if value not in legal:
        raise ValueError(f"{name} must be one of {sorted(legal)}, not {value!r}")


def nonzero(name: str, value: Array) -> None:
    """No vector along the last axis is zero."""
    zero = ~value.any(axis=-1)
    if zero.any():
        raise ValueError(f"{name} must not be 0, but {int(zero.sum())} of {zero.size} are")
