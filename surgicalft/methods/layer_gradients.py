"""Gradients of single inputs from one pass over the batch, for networks of convolutions.

Where a layer works on each image by itself, the gradients of its own tensors follow from its input a and from the
gradient g at its output, image by image: g a^T (linear), the correlation of a and g (convolution), the sum over
positions of g times the normalised a (scale), and of g (shift, bias). So the batch goes forward and back once, with
kernels that are made for batches, and without their weight gradients. The first axis of what these layers take
is understood to be that of the images, in their order.

Sources: Goodfellow (2015), "Efficient Per-Example Gradient Computations"; Rochette, Manoel and Tramel (2019),
"Efficient Per-Example Gradient Computations in Convolutional Neural Networks" (a group per image).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight
from torch.nn.modules.batchnorm import _BatchNorm

from surgicalft.freezing import Held

Gradients = dict[str, Tensor]
Owners = dict[nn.Module, dict[str, str]]  # layer -> name of its tensor -> name in the network


class Unsuitable(Exception):
    """The network uses a layer in a way that this module does not follow."""


def layer_gradients(
    network: nn.Module, owners: Owners, images: Tensor, labels: Tensor
) -> Gradients:
    """Name -> (n, *shape): gradient of each image's cross-entropy, images (n, c, h, w), labels (n,).

    `network` is in eval mode with frozen parameters, `owners` comes from `find_owners`. Raises Unsuitable where
    another way has to be taken.
    """
    found: Gradients = {}
    roots: list[Tensor] = []  # outputs where tracking begins
    with _watched(owners, len(labels), roots, found), torch.enable_grad():
        loss = F.cross_entropy(network(images), labels, reduction="sum")
        if not loss.requires_grad:
            raise Unsuitable("no layer was called")
        torch.autograd.grad(loss, roots, allow_unused=True)
    names = {name for tensors in owners.values() for name in tensors.values()}
    if absent := names - set(found):
        raise Unsuitable(f"no gradient came by the layers of {sorted(absent)}")
    return found


def find_owners(network: nn.Module, names: Sequence[str]) -> Owners | None:
    """The layers that hold the tensors `names`; None where one is of another kind, or images may mix."""
    modules = dict(network.named_modules())
    if any(isinstance(m, _BatchNorm) and m.running_mean is None for m in modules.values()):
        return None
    uses = [id(p) for _, p in network.named_parameters(remove_duplicate=False)]
    owners: Owners = {}
    for name in names:
        path, _, own = name.rpartition(".")
        layer = modules[path]
        if _rule(layer) is None or uses.count(id(getattr(layer, own))) > 1:
            return None
        owners.setdefault(layer, {})[own] = name
    return owners


@contextmanager
def _watched(owners: Owners, n: int, roots: list[Tensor], found: Gradients) -> Iterator[None]:
    """Each layer notes its input on the way forward, and its gradients on the way back."""

    def forward(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if len(inputs) != 1 or len(inputs[0]) != n or inputs[0].dim() != _DIMENSIONS[_kind(layer)]:
            raise Unsuitable(f"{layer} does not take {n} images at once")
        if not output.requires_grad:
            roots.append(output.detach().requires_grad_())
            output = roots[-1].clone()  # a copy may be changed in place
        kept = [(inputs[0].detach(), inputs[0]._version)]
        output.register_hook(partial(backward, layer, kept))
        return output

    def backward(layer: nn.Module, kept: list[tuple[Tensor, int]], g: Tensor) -> None:
        a, version = kept.pop()  # the hook lives as long as the graph, its input need not
        if a._version != version:
            raise Unsuitable(f"the input of {layer} was changed in place")
        rule = _rule(layer)
        assert rule is not None
        for own, name in owners[layer].items():
            gradient = rule(layer, own, a, g)
            found[name] = found[name] + gradient if name in found else gradient

    handles = [layer.register_forward_hook(forward) for layer in owners]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _linear(layer: nn.Linear, own: str, a: Tensor, g: Tensor) -> Tensor:
    """a (n, inputs), g (n, outputs)."""
    return g if own == "bias" else g[:, :, None] * a[:, None, :]


def _convolution(layer: nn.Conv2d, own: str, a: Tensor, g: Tensor) -> Tensor:
    """a (n, inputs, h, w), g (n, outputs, h', w'): all images are groups of one convolution."""
    if own == "bias":
        return g.sum((2, 3))
    n, shape = len(a), layer.weight.shape
    weights = conv2d_weight(
        a.reshape(1, -1, *a.shape[2:]),
        (n * shape[0], *shape[1:]),
        g.reshape(1, -1, *g.shape[2:]),
        layer.stride,
        layer.padding,
        layer.dilation,
        n * layer.groups,
    )
    return weights.view(n, *shape)


def _batch_norm(layer: nn.BatchNorm2d, own: str, a: Tensor, g: Tensor) -> Tensor:
    shift = g.sum((2, 3))
    if own == "bias":
        return shift
    assert layer.running_mean is not None and layer.running_var is not None
    return ((g * a).sum((2, 3)) - layer.running_mean * shift) * (
        layer.running_var + layer.eps
    ).rsqrt()


def _group_norm(layer: nn.GroupNorm, own: str, a: Tensor, g: Tensor) -> Tensor:
    if own == "bias":
        return g.sum((2, 3))
    return (g * F.group_norm(a, layer.num_groups, eps=layer.eps)).sum((2, 3))


_RULES: dict[type, Callable[..., Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
}
_DIMENSIONS = {nn.Linear: 2, nn.Conv2d: 4, nn.BatchNorm2d: 4, nn.GroupNorm: 4}


def _kind(layer: nn.Module) -> Any:
    """Its class, also where it is held in evaluation mode; what others derive may compute otherwise."""
    return type(layer).__bases__[1] if isinstance(layer, Held) else type(layer)


def _rule(layer: nn.Module) -> Callable[..., Tensor] | None:
    if isinstance(layer, nn.Conv2d) and (
        layer.padding_mode != "zeros" or isinstance(layer.padding, str)
    ):
        return None
    return _RULES.get(_kind(layer))
