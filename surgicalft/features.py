"""Outputs of frozen prefixes (`surgicalft.split`): computed side by side, once per image, kept while there is room."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from surgicalft.evaluate import to_float
from surgicalft.precision import autocast
from surgicalft.recent import Recent
from surgicalft.shifts.image_files import LazyImages, as_tensor
from surgicalft.split import Features, Split

V = TypeVar("V")


def compute_features(
    prefix: nn.Module,
    images: Tensor | LazyImages,
    device: str = "cpu",
    batch_size: int = 50,
    precision: str = "float32",
) -> Features:
    """The prefix's outputs for uint8 images (n, c, h, w), in eval mode, as they come in that precision."""
    prefix.eval()

    @torch.no_grad()  # a thread has a mode of its own
    def compute(part: Tensor | LazyImages) -> Features:
        with autocast(precision, device):
            return prefix(to_float(part, device))

    parts = side_by_side(compute, images.split(batch_size), device)
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def side_by_side(compute: Callable[[Any], V], batches: Sequence[Any], device: str) -> list[V]:
    """`compute` of each batch, in order.

    On a CPU a batch per core: its threads then wait for each other at the end, not in every operation.
    """
    threads = torch.get_num_threads()
    jobs = min(threads, len(batches))
    if jobs == 1 or torch.device(device).type != "cpu":
        return list(map(compute, batches))
    try:
        with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(compute, batches))
    finally:
        torch.set_num_threads(threads)  # what threads that are started later begin with


class FeatureCache:
    """Features by (cut, split name, precision), kept up to `max_bytes` in all.

    One cache serves the runs that start from the same weights on the same target split, whatever they tune.
    `graph` is the network's, from `trace`.
    """

    def __init__(self, graph: fx.Graph | None, max_bytes: int = 2**31) -> None:
        self.graph = graph
        self._recent: Recent[Features] = Recent(max_bytes, _nbytes)
        self._sizes: dict[tuple[str, str], float] = {}  # bytes of an image's, by cut and precision

    def get(
        self,
        parts: Split,
        name: str,
        images: Tensor | LazyImages,
        device: str = "cpu",
        precision: str = "float32",
    ) -> Features:
        """The features of the split called `name`, computed at the first asking; uncut, the images as bytes."""

        def make() -> Features:
            if not parts.cut:
                return (as_tensor(images).to(device),)
            return compute_features(parts.prefix, images, device, precision=precision)

        features = self._recent.get((parts.cut, name, precision), make)
        self._sizes[parts.cut, precision] = _nbytes(features) / max(1, len(images))
        return features

    def batches(
        self,
        parts: Split,
        name: str,
        images: Tensor | LazyImages,
        device: str = "cpu",
        size: int = 250,
        precision: str = "float32",
    ) -> Iterator[Features]:
        """The same in order, a batch at a time: kept if cut and small, else computed and let go."""
        each = self._size(parts, images, device, precision) if parts.cut else 0.0
        if parts.cut and each * len(images) < self._recent.limit / 2:
            kept = self.get(parts, name, images, device, precision)
            yield from zip(*(tensor.split(size) for tensor in kept), strict=True)
        else:
            for part in images.split(size):
                yield compute_features(parts.prefix, part, device, precision=precision)

    def _size(
        self, parts: Split, images: Tensor | LazyImages, device: str, precision: str
    ) -> float:
        key = parts.cut, precision
        if key not in self._sizes:
            one = compute_features(parts.prefix, images[:1], device, precision=precision)
            self._sizes[key] = _nbytes(one)
        return self._sizes[key]


def _nbytes(features: Features) -> int:
    return sum(tensor.nbytes for tensor in features)
