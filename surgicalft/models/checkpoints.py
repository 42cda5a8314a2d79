"""Weights from files. A pickle in a checkpoint can name any code; only tensors are ever loaded."""

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

# What older checkpoints of accuracies beside weights hold; harmless.
_SAFE: list[Any] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, by its path and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path}: {reason}")


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Parameter name -> tensor, from a .safetensors file or a torch file (under `key`, if given).

    Raises FileNotFoundError, or CheckpointError for a truncated file, one that holds anything but
    tensors and plain numbers (nothing in it is executed), or one without weights where they should be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    content = load_file_checked(path) if path.suffix == ".safetensors" else _load_torch(path)
    weights = content.get(key) if key else content
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(path, f"no weights under {key!r}; it holds {sorted(content)[:8]}")
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(path, "holds values that are not tensors among its weights")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def load_file_checked(path: Path) -> dict[str, Tensor]:
    """safetensors.torch.load_file with our error."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(path, f"truncated or not a safetensors file ({error})") from error


def _load_torch(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[-1]
        for line in str(error).splitlines():
            if "Unsupported" in line:
                reason = line.strip()
        raise CheckpointError(path, f"refused, nothing was executed ({reason})") from error
    except (RuntimeError, EOFError, BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(path, f"truncated or not a torch checkpoint ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(path, f"holds a {type(content).__name__}, not a dictionary")
    return content


def load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Fill `network`; CheckpointError names what is missing, left over or of another shape."""
    own = network.state_dict()
    missing = sorted(set(own) - set(weights))
    extra = sorted(set(weights) - set(own))
    shapes = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    problems = [("missing", missing), ("unknown", extra), ("other shapes", shapes)]
    if any(names for _, names in problems):
        text = "; ".join(f"{len(n)} {what}: {', '.join(n[:4])}" for what, n in problems if n)
        name = type(network).__name__
        raise CheckpointError(path, f"is of another architecture than {name} ({text})")
    network.load_state_dict(weights)
