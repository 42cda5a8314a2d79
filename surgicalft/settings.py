"""Settings are frozen dataclasses; what they produce is named by the hash of their canonical form."""

import dataclasses
import hashlib
import json
from typing import Any, TypeVar

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
    if value not in legal:
        raise ValueError(f"{name} must be one of {list(legal)}, not {value!r}")
