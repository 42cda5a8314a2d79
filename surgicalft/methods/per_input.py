"""Gradients of single inputs by torch.func (vmap of grad), in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

CHUNK = 16


@dataclass(frozen=True)
class Moments:
    """Of one tensor's gradients over `count` inputs: mean and sample variance (ddof = 1) of each coordinate."""

    mean: Tensor
    variance: Tensor
    count: int


def per_input_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str], chunk: int = CHUNK
) -> dict[str, Tensor]:
    """Name -> (n, *shape): the gradient of each input's cross-entropy, in eval mode."""
    state = {name: value.detach() for name, value in model.named_parameters()}
    state |= dict(model.named_buffers())
    tuned = {name: state.pop(name) for name in names}

    def loss(tuned: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        outputs = functional_call(model, (tuned, state), (image[None],))
        return F.cross_entropy(outputs, label[None])

    training = model.training
    model.eval()
    try:
        each = vmap(grad(loss), in_dims=(None, 0, 0), chunk_size=chunk)
        found: dict[str, Tensor] = each(tuned, images, labels)
        return found
    finally:
        model.train(training)


def gradient_moments(
    model: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str], chunk: int = CHUNK
) -> dict[str, Moments]:
    """Name -> moments over the inputs."""
    found = per_input_gradients(model, images, labels, names, chunk)
    n = len(labels)
    return {name: Moments(g.mean(0), g.var(0), n) for name, g in found.items()}
