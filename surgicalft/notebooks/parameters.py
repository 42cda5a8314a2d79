"""The parameters cell of a notebook: which names it has, of which types, and whether given values fit.

papermill warns, and runs the defaults, where a name is unknown or the tag is missing, and a value that is
computed in the cell goes stale when another is replaced; here all three are errors.
"""

import ast
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from nbformat import NotebookNode

TAG = "parameters"
SCALARS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
LEGAL_TYPES = f"{', '.join(SCALARS)}, list[...], Optional[...], ... | None"


@dataclass(frozen=True)
class Parameter:
    """One line `name: type = default` of a parameters cell."""

    name: str
    type: ast.expr
    default: Any


def read_parameters(notebook: NotebookNode, name: str) -> dict[str, Parameter]:
    """The parameters of a notebook, in the order of their lines; `name` stands in messages.

    Raises ValueError unless exactly one cell has the tag `parameters` and every line of it is
    `name: type = literal` or `name = literal`, of a type that JSON has.
    """
    cells = [c for c in notebook.cells if TAG in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(
            f"{name} must have exactly one cell with the tag {TAG!r}, not {len(cells)}"
        )
    parameters: dict[str, Parameter] = {}
    for statement in ast.parse(cells[0].source).body:
        line = ast.get_source_segment(cells[0].source, statement)
        try:
            parameter = _parameter(statement)
        except ValueError as error:
            raise ValueError(f"{name}, parameters cell, `{line}`: {error}") from None
        if parameter.name in parameters:
            raise ValueError(f"{name}, parameters cell, `{line}`: defined twice")
        parameters[parameter.name] = parameter
    return parameters


def check_values(
    parameters: Mapping[str, Parameter], values: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """`values` as JSON values; ValueError where a name is unknown or a value is not of its type.

    An int does for a float. A NumPy scalar becomes its Python value, a path its text and a tuple
    a list, but not inside a list or a dict, where papermill would silently write text.
    """
    unknown = sorted(set(values) - set(parameters))
    if unknown:
        raise ValueError(f"{name} has no parameters {unknown}; legal: {list(parameters)}")
    plain = {key: _plain(key, value) for key, value in values.items()}
    for key, value in plain.items():
        if not accepts(parameters[key].type, value):
            legal = ast.unparse(parameters[key].type)
            raise ValueError(f"{name}: parameter {key} must be {legal}, not {value!r}")
    return plain


def accepts(annotation: ast.expr, value: Any) -> bool:
    """Whether a JSON value is of the annotated type; ValueError where the type is not a legal one."""
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.Constant(value=str(text)):
            return accepts(ast.parse(text, mode="eval").body, value)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return accepts(left, value) or accepts(right, value)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return value is None or accepts(inner, value)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(accepts(inner, item) for item in value)
        case ast.Name(id="float"):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id=name) if name in SCALARS:
            return isinstance(value, SCALARS[name])
    raise ValueError(f"unknown type {ast.unparse(annotation)}; legal: {LEGAL_TYPES}")


def _parameter(statement: ast.stmt) -> Parameter:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
            default = _literal(value)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = _literal(value)
            kind = ast.Name(id=type(default).__name__)
        case _:
            raise ValueError("only `name: type = literal` and `name = literal` may stand here")
    if not accepts(kind, default):
        raise ValueError(f"{default!r} is not of type {ast.unparse(kind)}")
    return Parameter(name, kind, default)


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise ValueError("the value must be a literal, with nothing derived in it") from None


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, tuple):
        value = list(value)
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        plain = None
    if plain != value:
        raise ValueError(f"parameter {key}: {value!r} is not a JSON value (no tuple, NaN, object)")
    return plain
