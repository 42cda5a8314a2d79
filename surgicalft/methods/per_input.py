"""Gradients of single inputs, by torch.func (vmap of grad) or from layers, in chunks; never a loop over images."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from surgicalft.allocator import keep_freed_memory
from surgicalft.memory import side_by_side
from surgicalft.methods.layer_gradients import Unsuitable, find_owners, layer_gradients

CHUNK = 64  # images at once, where their gradients fit into CHUNK_BYTES
CHUNK_BYTES = 2**28


@dataclass(frozen=True)
class Moments:
    """Of one tensor's gradients over `count` inputs, by coordinate: mean, and sample variance (ddof = 1).

    The variance of a single input is 0 here, and no estimate of anything.
    """

    mean: Tensor
    variance: Tensor
    count: int


def per_input_gradients(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """Name -> (n, *shape): the gradient of each input's cross-entropy, in eval mode, all else held constant.

    images: float (n, c, h, w) in [0, 1]; labels: (n,); names: of parameters; chunk: how many images are worked on at
    once (None: 64, or as many as have their gradients in 256 MB). The model is only read: modes, flags and
    gradients stay as they are. On a CPU the threads that PyTorch may use share a chunk's images.

    Raises ValueError for unknown names, an empty batch, other than one label per image, chunk < 1.
    """
    parts = list(_parts(model, images, labels, names, chunk))
    return {name: torch.cat([part.pop(name) for part in parts]) for name in names}


def gradient_moments(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    chunk: int | None = None,
) -> dict[str, Moments]:
    """Name -> moments of `per_input_gradients` over the inputs, which are never all held at once.

    With P scalars in `names` and p in the largest of these tensors, it takes at most chunk · (P + p) + 2 P + 4 p
    scalars, whatever n is, the activations of one training step with chunk images, and, in networks with other
    layers than convolutional ones, a copy of the weights that lie channels last.

    Source of the update: Chan, Golub and LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances".
    """
    totals: dict[str, _Total] = {}
    for part in _parts(model, images, labels, names, chunk):
        for name in names:
            gradients = part.pop(name)  # let go of it at once
            if name not in totals:
                totals[name] = _Total(gradients[0])
            totals[name].add(gradients)
            del gradients
    return {name: totals.pop(name).moments() for name in names}


class _Total:
    """Mean and sum of squared deviations so far, of tensors like `example`."""

    def __init__(self, example: Tensor) -> None:
        self.count = 0
        self.mean, self.deviations = torch.zeros_like(example), torch.zeros_like(example)

    def add(self, gradients: Tensor) -> None:
        """gradients: (m, *shape)."""
        m, before = len(gradients), self.count
        self.count += m
        mean = gradients.mean(0)
        self.deviations += (gradients - mean).square_().sum(0)
        mean -= self.mean
        self.mean.add_(mean, alpha=m / self.count)
        self.deviations.add_(mean.square_(), alpha=m * before / self.count)

    def moments(self) -> Moments:
        return Moments(self.mean, self.deviations.div_(max(1, self.count - 1)), self.count)


def _parts(
    model: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str], chunk: int | None
) -> Iterator[dict[str, Tensor]]:
    """The gradients of consecutive images; as many parts at once as make up a chunk."""
    size = _chunk(model, images, labels, names, chunk)
    keep_freed_memory()
    jobs = torch.get_num_threads() if images.device.type == "cpu" else 1
    shared = _shared(model, torch.preserve_format)
    if find_owners(model, names) is None:
        # Through vmap, some operations on what lies channels last would go image by image.
        shared, images = _shared(model, torch.contiguous_format), images.contiguous()
    twins = [_Twin(model, shared, names) for _ in range(min(jobs, size, len(labels)))]
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        each = -(-len(y) // len(twins))
        shares = list(zip(twins, x.split(each), y.split(each), strict=False))
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels would go through vmap image by image
            found = side_by_side(lambda share: share[0](*share[1:]), shares, str(images.device))
        while found:
            yield dict(zip(names, found.pop(0), strict=True))


def _shared(model: nn.Module, layout: torch.memory_format) -> dict[int, Any]:
    """Which tensors copies of the model have in the place of its own: the same in memory, where the layout fits."""
    own: dict[int, Any] = {id(b): b for b in model.buffers()}
    for p in model.parameters():
        own[id(p)] = nn.Parameter(p.detach().to(memory_format=layout), False)
    return own


class _Twin:
    """A copy of the model in eval mode, whose parameters are those that are `shared` and never learn.

    One for each thread: torch.func puts values in the place of a module's parameters while it runs.
    """

    def __init__(self, model: nn.Module, shared: dict[int, Any], names: Sequence[str]) -> None:
        self.network = copy.deepcopy(model, dict(shared)).eval()
        self.names = tuple(names)
        self._parameters = {name: self.network.get_parameter(name).detach() for name in names}
        self._owners = find_owners(self.network, names)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Gradients (n, *shape), in the order of the names."""
        if self._owners is not None:
            try:
                found = layer_gradients(self.network, self._owners, images, labels)
                return tuple(found[name] for name in self.names)
            except Unsuitable:
                self._owners = None
        found = vmap(grad(self._loss), in_dims=(None, 0, 0))(self._parameters, images, labels)
        return tuple(found[name] for name in self.names)

    def _loss(self, parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        outputs = functional_call(self.network, parameters, (image[None],))
        return F.cross_entropy(outputs, label[None])


def _chunk(
    model: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str], chunk: int | None
) -> int:
    known = dict(model.named_parameters())
    if absent := [name for name in names if name not in known]:
        raise ValueError(f"{type(model).__name__} has no parameters {absent}; it has {list(known)}")
    if not len(labels) or labels.shape != images.shape[:1]:
        shapes = tuple(images.shape), tuple(labels.shape)
        raise ValueError(
            f"images (n, c, h, w) and labels (n,) with n >= 1 are needed, not {shapes}"
        )
    if chunk is None:
        size = sum(known[name].nbytes for name in names)
        return max(1, min(CHUNK, CHUNK_BYTES // max(1, size)))
    if chunk < 1:
        raise ValueError(f"chunk must be 1 or more, not {chunk}")
    return chunk
