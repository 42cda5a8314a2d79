"""Weights from files. A pickle in a checkpoint can name any code; only tensors are ever loaded."""

import argparse
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

# What older checkpoints hold beside weights, accuracies and the arguments of their training; harmless.
_SAFE: list[Any] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    argparse.Namespace,
]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, by its path and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path}: {reason}")


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Parameter name -> tensor, from a .safetensors file, a torch file (under `key`, if given) or TorchScript.

    Raises FileNotFoundError, or CheckpointError for a truncated file, one that holds anything but
    tensors and plain numbers (nothing in it is executed), or one without weights where they should be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    content = _content(path)
    weights = content.get(key) if key else content
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(path, f"no weights under {key!r}; it holds {sorted(content)[:8]}")
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(path, "holds values that are not tensors among its weights")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _content(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return load_file_checked(path)
    if is_zipfile(path) and (folder := _torchscript_folder(path)) is not None:
        return _load_torchscript(path, folder)
    return _load_torch(path)


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


def _torchscript_folder(path: Path) -> str | None:
    """The folder inside a TorchScript archive that holds everything, None for another zip file."""
    with ZipFile(path) as archive:
        names = archive.namelist()
    return next(
        (n.removesuffix("constants.pkl") for n in names if n.endswith("constants.pkl")), None
    )


def _load_torchscript(path: Path, folder: str) -> dict[str, Any]:
    """The weights alone: torch.jit.load, which is deprecated, would also compile and run what the file asks for."""
    try:
        with ZipFile(path) as archive:
            root = _ScriptReader(archive, folder).load()
        return dict(root.weights())
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(path, f"not a readable TorchScript archive ({error})") from error


class _ScriptReader(pickle.Unpickler):
    """Unpickles the modules of a TorchScript archive; every class but tensors becomes an empty `_Script`.

    Format: the archive's `data.pkl` is a pickle of attributes whose tensors refer to the files `data/<key>`,
    as in torch/csrc/jit/serialization/pickler.cpp.
    """

    def __init__(self, archive: ZipFile, folder: str) -> None:
        super().__init__(archive.open(f"{folder}data.pkl"))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        return _DTYPES.get(name, _Script) if module == "torch" else _Script

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, size = pid
        data = self.archive.read(f"{self.folder}data/{key}")
        return torch.frombuffer(bytearray(data), dtype=dtype, count=size)


_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}


class _Script:
    """Stands for a scripted module: its attributes, and nothing that could run."""

    def __new__(cls, *args: Any) -> "_Script":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state: dict[str, Any] = state if isinstance(state, dict) else {}

    def weights(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of this module and those inside."""
        for name, value in getattr(self, "state", {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
            elif isinstance(value, _Script):
                yield from value.weights(f"{prefix}{name}.")


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    return storage.as_strided(size, stride, offset)


def load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Fill `network`; CheckpointError names what is missing, left over or of another shape.

    BatchNorm's counts of batches may be missing, as in files from before torch 0.4.1: evaluation needs none.
    """
    own = network.state_dict()
    counts = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    weights = {**counts, **weights}
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
