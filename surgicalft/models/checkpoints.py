"""Weights from files. A pickle in a checkpoint can name any code; only tensors are ever loaded."""

import argparse
import pickle
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors.torch import load_file
from torch import Tensor, nn

# What checkpoints hold beside weights, harmless: numbers and words of NumPy, and the arguments of the training.
_SAFE: list[Any] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSU"},
    argparse.Namespace,
]
# What wrappers put before a parameter's name: DataParallel, Lightning, torch.compile, detectors and self-supervision.
PREFIXES = ("module", "model", "_orig_mod", "backbone")
_COUNT = "n_averaged"  # torch.optim.swa_utils.AveragedModel's own buffer
_MOST_UNPACKED = 100  # times the size of the file: more is no checkpoint


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, by its path and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path}: {reason}")


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Read the weights in a file; nothing in it is executed.

    Parameters
    ----------
    path: a .safetensors file, a torch file or TorchScript.
    key: where in the file the weights lie, such as "state_dict"; None if it holds nothing else, or one dictionary of
        tensors beside plain values.

    Returns
    -------
    Name in the file -> tensor; `load_weights` fits the names to a network's.

    Raises
    ------
    FileNotFoundError for no file, and CheckpointError, with the file's name and the reason, for whatever is no whole
    checkpoint, holds anything but tensors and plain values, or has no weights there. Damage inside the tensors is
    noticed where the format has sums to check: in torch's files since PyTorch 1.6, not in older ones and safetensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if not path.is_file():
        raise CheckpointError(path, "is no regular file")
    content = _content(path)
    weights = content.get(key) if key else _only(content)
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(path, f"no weights under {key!r}; it holds {_keys(content)}")
    if not all(isinstance(value, Tensor) for value in weights.values()):
        nested = _keys({k: v for k, v in weights.items() if isinstance(v, dict)})
        hint = f"; it holds {nested}, one of which may be the key of its weights" if nested else ""
        raise CheckpointError(path, f"holds values that are not tensors among its weights{hint}")
    if not all(isinstance(name, str) for name in weights):
        raise CheckpointError(path, f"holds weights without names: {_keys(weights)}")
    return dict(weights)


def _only(content: Any) -> Any:
    """The one dictionary of tensors in a checkpoint that has no tensors beside it; else the content itself."""
    if not isinstance(content, dict) or any(isinstance(v, Tensor) for v in content.values()):
        return content
    found = [v for v in content.values() if isinstance(v, dict) and v]
    weights = [v for v in found if all(isinstance(t, Tensor) for t in v.values())]
    return weights[0] if len(weights) == 1 else content


def _keys(content: Mapping[Any, Any]) -> list[str]:
    return sorted(map(str, content))[:8]


def _content(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return load_file_checked(path)
    try:
        packed = is_zipfile(path)
        folder = _checked_folder(path) if packed else None
    except Exception as error:  # a damaged archive may raise anything
        raise CheckpointError(path, f"truncated or damaged ({_words(error)})") from error
    return _load_torch(path) if folder is None else _load_torchscript(path, folder)


def load_file_checked(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, as safetensors.torch.load_file does.

    Raises CheckpointError for a file that is truncated or none.
    """
    try:
        return load_file(path)
    except Exception as error:  # a damaged header may make it raise anything
        raise CheckpointError(
            path, f"truncated or not a safetensors file ({_words(error)})"
        ) from error


def _load_torch(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        if isinstance(error, pickle.UnpicklingError) and (found := _refused(str(error))):
            raise CheckpointError(
                path,
                f"refused, nothing was executed: it holds {found}, and only tensors and plain values are read; save "
                "the network's state_dict() alone",
            ) from error
        raise CheckpointError(
            path, f"truncated or not a torch checkpoint ({_words(error)})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(path, f"holds a {type(content).__name__}, not a dictionary")
    return content


def _refused(message: str) -> str | None:
    """The function or class that torch's reader refused to call; None for another error of it."""
    found = re.search(r"GLOBAL (\S+)|got <class '([^']+)'>|nsupported class (\S+)", message)
    return next(filter(None, found.groups())) if found else None


def _words(error: Exception) -> str:
    """An error on one line; of torch's long ones the end, which says what is wrong."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip() or "no reason given"
    return f"{type(error).__name__}: {text.splitlines()[0]}"


def _checked_folder(path: Path) -> str | None:
    """`_torchscript_folder`, after the archive's sums were checked: torch itself does not, and reads on."""
    with ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _MOST_UNPACKED * path.stat().st_size:
            raise ValueError(f"unpacks to {unpacked:,} bytes")
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"the sum of {broken} is wrong")
    return _torchscript_folder(path)


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


def match_names(
    weights: Mapping[str, Tensor], own: Collection[str], path: Path
) -> dict[str, Tensor]:
    """Name weights as the network does: of a name that it does not have, the leading `PREFIXES` are taken away.

    Parameters
    ----------
    weights: name -> tensor, as read from a file.
    own: the network's names.
    path: the file, for errors.

    Returns
    -------
    Name -> tensor, without the count that an average of weights (`AveragedModel`) keeps. A name that does not become
    one of the network's by this stays as it was.

    Raises
    ------
    CheckpointError if two weights would get the same name.
    """
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, value in weights.items():
        inner = _inner(name, own)
        if inner not in own and inner.split(".")[-1] == _COUNT:
            continue
        if inner in found:
            raise CheckpointError(
                path, f"has {origin[inner]} and {name}, both of which are {inner}"
            )
        found[inner], origin[inner] = value, name
    return found


def _inner(name: str, own: Collection[str]) -> str:
    inner = name
    while inner not in own:
        first, dot, rest = inner.partition(".")
        if first not in PREFIXES or not dot:
            return name
        inner = rest
    return inner


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Fill a network with weights, all of it and nothing else.

    Parameters
    ----------
    network: whose tensors are replaced.
    weights: name -> tensor; names may carry the `PREFIXES`, see `match_names`. BatchNorm's counts of batches may be
        missing, as in files from before torch 0.4.1: evaluation needs none.
    path: the file they are from, for errors.

    Raises
    ------
    CheckpointError that names what is missing, left over or of another shape.
    """
    own = network.state_dict()
    counts = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    weights = {**counts, **match_names(weights, own, path)}
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
