"""The nineteen corruptions of CIFAR-10-C and ImageNet-C, five severities each, made on the spot, seeded per image.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (2019), with the constants published for CIFAR or for ImageNet; values are truncated
to 8 bits, as there. Departures: frost is drawn (`DRAWN`) where the published one crops photographs; the random
numbers are our own, so images agree with the published ones in distribution; spatter without drops
leaves the image alone.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from surgicalft.seeds import derive_seed
from surgicalft.shifts.corruptions import blur, digital, droplets, noise, weather
from surgicalft.shifts.corruptions.batch import Array
from surgicalft.shifts.corruptions.constants import (
    CONSTANT_SETS,
    CONSTANTS,
    CORRUPTIONS,
    IMAGENET_CONSTANTS,
    SEVERITIES,
)

__all__ = [
    "CONSTANTS",
    "CONSTANT_SETS",
    "CORRUPTIONS",
    "DRAWN",
    "IMAGENET_CONSTANTS",
    "SEVERITIES",
    "corrupt",
    "parse_severity",
]

# Corruptions that imitate what the published data took from photographs.
DRAWN = frozenset({"frost"})

SMALLEST = 8  # pixels
CHUNK = 250  # images of 32 pixels, or as many pixels, worked on at once: 6 MB per float64 array
ROUNDING = 1e-4  # of a grey level: floating-point error must not cost a whole one

_FUNCTIONS: dict[str, Callable[..., Array]] = {
    name: getattr(module, name)
    for module in (noise, blur, weather, digital, droplets)
    for name in CORRUPTIONS
    if hasattr(module, name)
}


def _check(images: Tensor, name: str, severity: int, index: Tensor, constants: str) -> None:
    if constants not in CONSTANT_SETS:
        raise ValueError(f"constants must be one of {', '.join(CONSTANT_SETS)}, not {constants!r}")
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}; legal: {', '.join(CORRUPTIONS)}")
    if not isinstance(severity, int) or severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}, not {severity!r}")
    shape = tuple(images.shape)
    square = len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] >= SMALLEST
    if images.dtype != torch.uint8 or not square:
        raise ValueError(
            f"images must be uint8 of shape (n, 3, s, s) with s >= {SMALLEST}, "
            f"not {images.dtype} {shape}"
        )
    if index.dtype != torch.int64 or index.shape != (len(images),):
        raise ValueError(
            f"index must be int64 of shape ({len(images)},), not {index.dtype} {tuple(index.shape)}"
        )


def _chunks(count: int, size: int, label: str, progress: bool) -> Iterable[slice]:
    chunk = max(1, CHUNK * 32**2 // size**2)
    for start in range(0, count, chunk):
        yield slice(start, start + chunk)
        if progress:
            print(f"\r{label}: {min(start + chunk, count)}/{count}", end="", flush=True)
    if progress:
        print()


def corrupt(
    images: Tensor,
    name: str,
    severity: int = 5,
    seed: int = 0,
    progress: bool = False,
    index: Tensor | None = None,
    constants: str = "cifar",
) -> Tensor:
    """The images with the corruption `name` of that severity, uint8 (n, 3, s, s) as they came.

    images: uint8 (n, 3, s, s), s >= 8, on the CPU.
    constants: "cifar", published for s = 32, or "imagenet", for s = 224; another size is legal but no
        published benchmark.
    name: one of `CORRUPTIONS`; severity: 1 to 5.
    seed, index: the randomness of image i depends on (seed, name, severity, index[i]) alone: a
        subset that keeps its identities is corrupted as in the whole. `index` is int64 (n,), and
        0, 1, ... where not given.
    progress: print how many are done.

    Raises ValueError with the legal values where an argument is none of these.
    """
    index = torch.arange(len(images)) if index is None else index
    _check(images, name, severity, index, constants)
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    constant = CONSTANT_SETS[constants][name][severity - 1]
    for part in _chunks(len(images), images.shape[-1], f"{name}/{severity}", progress):
        seeds = (derive_seed("corrupt", seed, name, severity, i) for i in index[part].tolist())
        rngs = [np.random.default_rng(s) for s in seeds]
        x = _FUNCTIONS[name](images[part].contiguous().numpy() / 255, rngs, constant)
        out[part] = torch.from_numpy((np.clip(x, 0, 1) * 255 + ROUNDING).astype(np.uint8))
    return out


def parse_severity(*parts: str) -> int:
    """The number behind a corruption's name, 5 where there is none; ValueError where it is not 1 to 5."""
    text = "/".join(parts) if parts else "5"
    if text not in {str(s) for s in SEVERITIES}:
        raise ValueError(f"severity must be one of {list(SEVERITIES)}, not {text!r}")
    return int(text)
