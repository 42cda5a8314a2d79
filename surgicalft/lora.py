"""LoRA: adapters of low rank beside frozen weights, for comparison with tuning the weights themselves.

While it is tuned, a convolution or linear layer with weight W, `out` outputs and rank r computes

    y = W x + b + (alpha / r) B A x,   A (r, in, ...) random, B (out, r, ...) zero at the beginning,

and A and B alone learn; afterwards W + (alpha / r) B A takes the place of W. A convolution's A has its kernel, stride
and padding, its B is a 1x1 convolution. alpha = r, so that the scale is 1; no dropout; A is drawn from U(-1, 1) over
the root of the inputs of an output. The layers are peft's, which the extra `lora` installs.

Cost: one run. Gradients of weights are those of A and B only, but every pass computes these too.
Departures: all layers of the selection take part, not a transformer's attention alone, and the classifier has an
adapter like any other; weight decay acts on A and B, so that it draws W towards its pre-trained value.
Source: Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", Eq. 3.
"""

import importlib
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor, nn

from surgicalft.blocks import Selection
from surgicalft.cost import Costs, Layer
from surgicalft.evaluate import ImageForm, to_float
from surgicalft.finetune import FineTune, Tuned, tune
from surgicalft.freezing import freeze
from surgicalft.memory import Memory
from surgicalft.seeds import generator
from surgicalft.shifts.base import Splits

RANK = 8
LEGAL = (
    "weights of nn.Linear and nn.Conv2d layers that the network calls, with torch's own forward; convolutions with "
    "groups=1, dilation=1 and padding_mode='zeros'; not shared between layers"
)


def fine_tune_lora(
    model: nn.Module,
    selection: Selection,
    splits: Splits,
    settings: FineTune,
    rank: int = RANK,
    device: str = "cpu",
    costs: Costs | None = None,
    memory: Memory | None = None,
) -> Tuned:
    """Tune adapters of `rank` for the layers whose weights are in `selection`, and merge those of the chosen epoch.

    In place; the model afterwards has its own layers and parameters again. Weights that `adaptable` leaves out, biases
    and normalisation stay frozen: of a transformer with `nn.MultiheadAttention`, its attention. `settings.seed`
    also draws A. `memory` and `costs` are those of the network without adapters, and `forward_passes` count in its
    passes; otherwise as `surgicalft.finetune.tune`.

    Raises ValueError for a rank below 1 and for a selection without a weight that takes an adapter, ModuleNotFoundError
    where peft is not installed, Diverged as `fine_tune` does, with the weights as they were.
    """
    if rank < 1:
        raise ValueError(f"rank must be 1 or more, not {rank}")
    model.to(device)
    layers = adaptable(
        model, selection, to_float(splits.tune.images[:1], device, ImageForm.of(model))
    )
    if not layers:
        where = f"selection {selection.name!r} of {type(model).__name__}"
        raise ValueError(f"{where} holds no weight that takes an adapter; legal: {LEGAL}")
    memory = memory or Memory()
    adapted = costs and adapted_costs(costs, model, layers, rank)
    try:
        adapters = replace(selection, parameters=inject(model, layers, rank, settings.seed))
        tuned = tune(model, adapters, splits, settings, device, memory, costs=adapted)
        for name in layers:
            model.get_submodule(name).merge()  # type: ignore[operator]
    finally:
        restore(model, layers)
    weights = tuple(f"{name}.weight" for name in layers)
    freeze(model, replace(selection, parameters=weights), settings.norm)
    return replace(tuned, metrics=_in_passes_of(costs, adapted, tuned.metrics))


def import_peft() -> ModuleType:
    """`import peft`, which needs the extra `lora` and takes a second or two."""
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "peft is not installed: pip install 'surgicalft[lora]'", name=error.name
        ) from error


def adaptable(model: nn.Module, selection: Selection, example: Tensor) -> tuple[str, ...]:
    """Names of the layers whose weight is in `selection` and takes an adapter, in the model's order.

    `example` is an image (1, c, h, w) in [0, 1]. A layer whose weight another one reads (the output projection of
    `nn.MultiheadAttention`) is never called, so that an adapter in it would do nothing. peft cannot merge adapters
    of grouped convolutions, and gives A neither dilation nor padding mode (0.21).
    """
    chosen = set(selection.parameters)
    holders = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    called = _called(model, example)
    return tuple(
        name
        for name, layer in model.named_modules()
        if f"{name}.weight" in chosen
        and layer in called
        and _takes_adapter(layer)
        and holders[id(layer.weight)] == 1
    )


def _takes_adapter(layer: nn.Module) -> bool:
    """Whether an adapter adds to its output what W + B A would, and can be merged."""
    if isinstance(layer, nn.Conv2d):
        methods = type(layer).forward, type(layer)._conv_forward
        plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
        return plain and methods == (nn.Conv2d.forward, nn.Conv2d._conv_forward)
    return isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward


@torch.no_grad()
def _called(model: nn.Module, example: Tensor) -> set[nn.Module]:
    called: set[nn.Module] = set()
    training, layers = model.training, list(model.modules())
    hooks = [m.register_forward_hook(lambda layer, *_: called.add(layer)) for m in layers]
    try:
        model.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return called


def inject(model: nn.Module, layers: Sequence[str], rank: int, seed: int) -> tuple[str, ...]:
    """Give these layers adapters, and freeze all else; the names of A and B, layer by layer.

    A follows from `seed` alone, the same on every device; the global random state is left as it was.
    """
    peft = import_peft()
    exactly = "|".join(map(re.escape, layers))  # a list of names would match any suffix
    config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=exactly)
    with torch.random.fork_rng(devices=[]):  # peft draws on the CPU
        peft.inject_adapter_in_model(config, model)
    del model.peft_config  # else the next injection would add to this one
    random = generator("lora", seed)
    for name in layers:
        weight = model.get_parameter(_adapter(name, "A"))
        drawn = torch.empty(weight.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=random)
        weight.data.copy_(drawn)
    return tuple(_adapter(name, part) for name in layers for part in "AB")


def _adapter(layer: str, part: str) -> str:
    return f"{layer}.lora_{part}.default.weight"


def restore(model: nn.Module, layers: Sequence[str]) -> None:
    """Put the layers themselves back, with whatever was merged into them."""
    for name in layers:
        layer = model.get_submodule(name)
        model.set_submodule(name, getattr(layer, "base_layer", layer))


@dataclass(frozen=True)
class AdaptedCosts(Costs):
    """Costs of a network with adapters, in which an adapted layer is called `base_layer`."""

    def inside(self, modules: Collection[str]) -> float:
        return super().inside([name.removesuffix(".base_layer") for name in modules])


def adapted_costs(costs: Costs, model: nn.Module, layers: Sequence[str], rank: int) -> AdaptedCosts:
    """Of `model` with adapters in these layers, by its `costs` without them.

    Where W takes F operations, and has n entries for each of its `out` outputs, A takes F r / out and B F r / n.
    """
    weights = {f"{name}.weight": name for name in layers}

    def split(layer: Layer) -> Iterator[Layer]:
        yield layer
        for tensor in weights.keys() & set(layer.tensors):
            weight, name = model.get_parameter(tensor), weights[tensor]
            outputs, inputs = len(weight), weight[0].numel()
            for part, flops in (("A", layer.flops // outputs), ("B", layer.flops // inputs)):
                yield Layer(flops * rank, (_adapter(name, part),), f"adapter {part} of {name}")

    return AdaptedCosts(tuple(part for layer in costs.layers for part in split(layer)))


def _in_passes_of(
    costs: Costs | None, adapted: Costs | None, metrics: dict[str, float]
) -> dict[str, float]:
    """Forward passes of the network without adapters instead of those with them."""
    if costs is None or adapted is None:
        return metrics
    whole, plain = (sum(layer.flops for layer in c.layers) for c in (adapted, costs))
    return {**metrics, "forward_passes": metrics["forward_passes"] * whole / plain}
