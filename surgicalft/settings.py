"""Settings are frozen dataclasses; what they produce is named by the hash of their canonical form."""

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")


def later(default: Any) -> Any:
    """A field that came after records existed: left out where it has its default, so that they stay valid."""
    return dataclasses.field(default=default, metadata={"later": True})


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings by name, nested ones too, without `later` fields that have their default."""
    return {
        f.name: as_dict(value) if dataclasses.is_dataclass(value) else value
        for f in dataclasses.fields(settings)
        for value in [getattr(settings, f.name)]
        if not (f.metadata.get("later") and value == f.default)
    }


def canonical(settings: Any) -> str:
    """Settings as JSON with sorted keys and the type's name: equal settings give equal text."""
    body = {"type": type(settings).__name__, **as_dict(settings)}
    return json.dumps(body, sort_keys=True, allow_nan=False)


def identity(settings: Any, *more: str) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical settings and of any further text."""
    text = "\n".join((canonical(settings), *more))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """`cls(**values)`; ValueError that names the unknown and the legal keys."""
    legal = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(legal))
    if unknown:
        raise ValueError(f"unknown {cls.__name__} settings {unknown}; legal: {legal}")
    return cls(**values)


def check_choice(name: str, value: object, legal: Any) -> None:
    """ValueError that prints the offending value and the legal ones."""
    if value not in list(legal):
        raise ValueError(f"{name} must be one of {list(legal)}, not {value!r}")


def check_count(name: str, value: Any, least: int = 0) -> int:
    """The whole number `value`, one of NumPy's as a plain int; ValueError for anything else and below `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} must be a whole number from {least} on, not {value!r}")
    return int(value)


def check_number(
    name: str, value: Any, low: float = 0.0, high: float = math.inf, ends: bool = True
) -> float:
    """The number `value` as a plain one; ValueError for anything else, if not finite, and outside low..high.

    A whole number stays one. A float32 becomes the number that it prints as: np.float32(1e-3) becomes 0.001, as
    everybody means who writes it, and not 0.0010000000474974513. `ends`: whether `low` and `high` themselves are legal.
    """
    number = _plain(value)
    if number is None or not (low <= number <= high if ends else low < number < high):
        start = f"{'from' if ends else 'above'} {low:g}{' on' if ends else ''}"
        within = f"{low:g} to {high:g}" if ends else f"between {low:g} and {high:g}, but neither"
        legal = f"finite number {start}" if high == math.inf else f"number {within}"
        raise ValueError(f"{name} must be a {legal}, not {value!r}")
    return number


def check_flag(name: str, value: Any) -> bool:
    """True or False, NumPy's too, as a plain bool; ValueError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def check_text(name: str, value: Any) -> None:
    """ValueError for anything but a text."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, not {value!r}")


def check_device(device: Any, here: bool = True) -> None:
    """ValueError if PyTorch knows no such device or, if it is to be `here`, can't compute on it in this process."""
    import torch  # slow to import

    try:
        known = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be one of PyTorch's, such as 'cpu', 'cuda' or 'cuda:1', not {device!r}"
        ) from error
    try:
        if here:
            torch.zeros(1, device=known).item()
    except (
        Exception
    ) as error:  # builds without CUDA raise AssertionError, a missing card RuntimeError
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"device {device!r} can't be used here: {reason}") from error


def check_fields(settings: Any, least: Mapping[str, int] | None = None, **choices: Any) -> None:
    """Check every field of a dataclass by its type, and store NumPy's scalars as plain numbers.

    So equal settings have one identity, whatever their numbers came from. To be called by `__post_init__`.

    Parameters
    ----------
    least
        Field -> its smallest legal number; 0 for all others.
    choices
        Field -> its legal values.

    Raises
    ------
    ValueError
        For the first field that does not fit, with its value and what is legal. None is, if the type says so.
    """
    for name, legal in choices.items():
        check_choice(name, getattr(settings, name), legal)
    cls: Any = type(settings)
    for name, kind in _kinds(cls).items():
        value = _checked(name, getattr(settings, name), kind, (least or {}).get(name, 0))
        object.__setattr__(settings, name, value)  # also if frozen


@cache
def _kinds(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _checked(name: str, value: Any, kind: Any, least: int) -> Any:
    """`value` as a field of type `kind` holds it."""
    if NoneType in get_args(kind):  # X | None
        if value is None:
            return None
        kind = next(k for k in get_args(kind) if k is not NoneType)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list, not {value!r}")
        kind = get_args(kind)[0]
        return tuple(_checked(f"{name}[{i}]", item, kind, least) for i, item in enumerate(value))
    if kind in _CHECKS:
        return _CHECKS[kind](name, value, least)
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be of type {kind.__name__}, not {value!r}")
    return value


_CHECKS: dict[Any, Any] = {
    int: check_count,
    float: check_number,
    bool: lambda name, value, least: check_flag(name, value),
}


def _plain(value: Any) -> float | None:
    """A finite number of Python's for one of Python's or NumPy's; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    if isinstance(value, int | np.integer):
        return int(value) if abs(int(value)) <= sys.float_info.max else None
    number = float(value) if isinstance(value, float) else float(str(value))
    return number if math.isfinite(number) else None
