"""What a run costs, in forward passes: counted from what learns in each epoch, the same on every machine.

One forward pass is one image through the whole network. With F_l the floating-point operations of layer l on one
image and F their sum, a training step with the layers in M answering from memory and those in T learning takes

    [ sum_{l not in M} F_l + sum_{l in T} F_l + sum_{l > first of T} F_l ] / F

passes per image: forward, gradients of the weights that learn, gradients of the inputs behind the first of them.

Attention counts as its two matrix products, whichever kernel computes it: PyTorch takes another one for each version,
device and mode, and its own counter knows only some.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from surgicalft.given_network import image_type


@dataclass(frozen=True)
class Layer:
    """`flops` of one image forward, without those of layers inside it, the tensors that it owns, and its name."""

    flops: int
    tensors: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True)
class Costs:
    """The layers of a network in the order in which they are called."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, network: nn.Module, example: Tensor) -> "Costs":
        """Counts one forward pass of `example`, one image (1, c, h, w) in [0, 1], in eval mode."""
        return cls(tuple(_Tally(network).layers(example)))

    def inside(self, modules: Collection[str]) -> float:
        """Share of a forward pass that is computed in the modules of these names."""
        starts = tuple(f"{name}." for name in modules)
        return self._sum(
            [i for i, x in enumerate(self.layers) if f"{x.name}.".startswith(starts)]
            if starts
            else []
        )

    def backward(self, tuned: Collection[str]) -> float:
        """Gradients of one image, where exactly these tensors learn."""
        first = self._first(tuned)
        weights = [
            i for i, layer in enumerate(self.layers) if not set(tuned).isdisjoint(layer.tensors)
        ]
        products = [i for i, layer in enumerate(self.layers[first:], first) if not layer.tensors]
        return (
            self._sum(range(first + 1, len(self.layers))) + self._sum(weights) + self._sum(products)
        )

    def _first(self, tensors: Collection[str]) -> int:
        wanted = set(tensors)
        found = (i for i, layer in enumerate(self.layers) if wanted.intersection(layer.tensors))
        return next(found, len(self.layers))

    def _sum(self, indices: Collection[int]) -> float:
        total = sum(layer.flops for layer in self.layers)
        return sum(self.layers[i].flops for i in indices) / total if total else 0.0


class _Tally:
    """Operations by module: what was counted between a call's beginning and end, without the calls inside it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.names = {module: name for name, module in network.named_modules()}
        self.order: dict[
            nn.Module, int
        ] = {}  # module -> operations, in the order of the first call
        self.open: list[
            tuple[nn.Module, int]
        ] = []  # called and not yet returned, and the count when it began
        self.inside: list[int] = [0]  # operations of returned calls, by depth

    def layers(self, example: Tensor) -> list[Layer]:
        flags = {parameter: parameter.requires_grad for parameter in self.network.parameters()}
        training = self.network.training
        hooks = []
        try:
            # With gradients layers compute step by step; whole layers in one kernel are for inference.
            self.network.eval().requires_grad_(True)
            counting = FlopCounterMode(display=False, custom_mapping=_attention_kernels())
            with torch.enable_grad(), counting as self.counter:
                for module in self.network.modules():
                    hooks += [
                        module.register_forward_pre_hook(self._enter),
                        module.register_forward_hook(self._leave),
                    ]
                self.network(example)
        finally:
            for hook in hooks:
                hook.remove()
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)
            self.network.train(training)
        owned = self._owned()
        return [
            Layer(flops, tuple(owned[module]), self.names[module])
            for module, flops in self.order.items()
        ]

    def _enter(self, module: nn.Module, inputs: object) -> None:
        self.order.setdefault(module, 0)
        self.open.append((module, self.counter.get_total_flops()))
        self.inside.append(0)

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        _, before = self.open.pop()
        spent = self.counter.get_total_flops() - before
        self.order[module] += spent - self.inside.pop()
        self.inside[-1] += spent

    def _owned(self) -> dict[nn.Module, list[str]]:
        """Each tensor belongs to the module that holds it, or to the nearest one around it that was called."""
        called = {self.names[module]: module for module in self.order}
        owned: dict[nn.Module, list[str]] = {module: [] for module in self.order}
        for name, _ in self.network.named_parameters():
            path = name.split(".")[:-1]
            while ".".join(path) not in called:
                path.pop()
            owned[called[".".join(path)]].append(name)
        return owned


@cache
def _attention_kernels() -> dict[Any, Any]:
    """Kernel of scaled_dot_product_attention -> what counts it, for all that this PyTorch has.

    Asking for the plain kernel (`sdpa_kernel`) would do, too, but holds for the whole process: runs in other threads
    would meanwhile round differently.
    """
    names = torch._C._dispatch_get_all_op_names()
    kernels = {name.removeprefix("aten::").partition(".")[0] for name in names}
    forward = (n for n in kernels if n.startswith("_scaled_dot_product") and "backward" not in n)
    return {getattr(torch.ops.aten, name): _attention for name in forward}


def _attention(query: Any, key: Any, value: Any, *more: object, **named: object) -> int:
    """Of Q K^T and A V, from the shapes (n, heads, tokens, width): 2 n h s t (d + e)."""
    (n, heads, s, d), t, e = query, key[-2], value[-1]
    return int(2 * n * heads * s * t * (d + e))


@dataclass
class Meter:
    """Adds up a run's passes; `costs` None counts nothing."""

    costs: Costs | None = None
    passes: float = 0.0
    _paid: set[frozenset[str]] = field(default_factory=set)  # modules whose outputs are kept

    def remember(self, modules: Collection[str], images: int) -> None:
        """What these modules give, once."""
        key = frozenset(modules)
        if self.costs and key not in self._paid:
            self._paid.add(key)
            self.passes += images * self.costs.inside(key)

    def forward(self, images: int, modules: Collection[str] = ()) -> None:
        """A pass in which these modules answer from memory."""
        if self.costs:
            self.passes += images * (1 - self.costs.inside(modules))

    def backward(self, tuned: Collection[str], images: int) -> None:
        """Gradients of these tensors."""
        if self.costs:
            self.passes += images * self.costs.backward(tuned)


def costs_of(network: nn.Module, images: Tensor) -> Costs:
    """For images like these, (n, c, h, w), as `Costs.of`."""
    device = next(network.parameters()).device
    example = torch.zeros(1, *images.shape[1:], device=device, dtype=image_type(network))
    return Costs.of(network, example)
