"""Freezing: no gradient, no optimiser state, and modes of the layers that `model.train()` does not undo.

A frozen part should be a fixed function. Two things besides the optimiser change it in training mode:
running statistics, which normalisation layers replace by those of the batch and update, and chance (dropout,
stochastic depth). `freeze` holds the layers concerned in evaluation mode whatever `train()` says. The idea is
`ResNet.train` of DomainBed's `networks.py`; here it holds for each layer by itself, so it also survives a
call of `train()` on a part of the model and a copy of it.
"""

import copyreg
from functools import cache
from types import new_class
from typing import Any, TypeVar

from torch import nn

from surgicalft.blocks import Selection

NORM_POLICIES = ("eval", "train", "tuned")
STATISTICS = ("running_mean", "running_var")
Module = TypeVar("Module", bound=nn.Module)


def freeze(model: nn.Module, selection: Selection, norm: str = "eval") -> None:
    """Tunes exactly `selection`, in place, whatever was frozen before.

    `norm` says which normalisation layers with running statistics use and update those of the batch in
    training mode: "eval" none (affine parameters still learn where tuned), "tuned" those that hold a tuned
    parameter, "train" all; under "train" the statistics of frozen layers do change. Layers without running
    statistics (GroupNorm, LayerNorm, BatchNorm with `track_running_stats=False`) have one mode only.

    Chance: every module in front of the first one with a tuned parameter is held in evaluation mode, so that
    dropout and stochastic depth there are off and the output there is the same at each pass, whatever is
    tuned. In front is what comes earlier in `model.modules()` or holds parameters of `selection.front` only.
    From that module on, and in the modules around it (a dropout called in the forward of a stage whose second
    layer is the first tuned), they act as usual, also inside frozen blocks.

    `model.train()` and `eval()` work as before on everything else; neither is called for you. Frozen
    parameters lose their gradient. Raises ValueError for an unknown policy or unknown parameters.
    """
    if norm not in NORM_POLICIES:
        raise ValueError(f"norm must be one of {NORM_POLICIES}, not {norm!r}")
    parameters = dict(model.named_parameters())
    if absent := [name for name in selection.parameters if name not in parameters]:
        raise ValueError(
            f"{type(model).__name__} has no parameters {absent}; it has {list(parameters)}"
        )
    _release(model)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in selection.parameters)
        if not parameter.requires_grad:
            parameter.grad = None
    front = _in_front(model, {id(parameters[name]) for name in selection.front})
    for module in model.modules():
        if _uses_stored(module, norm) if _has_statistics(module) else module in front:
            kind: Any = type(module)
            module.__class__ = _held(kind)
    model.train(model.training)


def unfreeze(model: nn.Module) -> None:
    """Every parameter learns and every module follows `train()` again; all take the mode of `model`."""
    _release(model)
    model.requires_grad_(True)
    model.train(model.training)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn, in the model's order: what an optimiser should be given."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


class Held(nn.Module):
    """Mixed into the class of a module that stays in evaluation mode; its children decide for themselves."""

    def train(self: Module, mode: bool = True) -> Module:
        super().train(mode)
        self.training = False
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle cannot find the mixed class by its name: leave the class it was made from."""
        reduced: Any = super().__reduce_ex__(protocol)
        if reduced[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]
            return reduced
        return _new, (type(self).__bases__[1], *reduced[1][1:]), *reduced[2:]


@cache
def _held(cls: Any) -> Any:
    """`cls` with `Held` mixed in, under its own name and module."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return new_class(cls.__name__, (Held, cls), exec_body=lambda body: body.update(names))


def _new(cls: Any, *args: Any) -> nn.Module:
    held = _held(cls)
    module: nn.Module = held.__new__(held, *args)
    return module


def _release(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Held):
            module.__class__ = type(module).__bases__[1]


def _has_statistics(module: nn.Module) -> bool:
    return any(getattr(module, name, None) is not None for name in STATISTICS)


def _uses_stored(module: nn.Module, norm: str) -> bool:
    if norm == "tuned":
        return not trainable(module)
    return norm == "eval"


def _in_front(model: nn.Module, fixed: set[int]) -> set[nn.Module]:
    """The modules of which nothing stands at or behind the first with a tuned parameter of its own.

    `fixed` are the ids of parameters known to be in front: registration need not follow computation.
    """
    named = dict(model.named_modules())
    tuned = (n for n, m in named.items() if any(p.requires_grad for p in m.parameters(False)))
    first = next(tuned, None)
    if first is None:
        return set(named.values())
    names = list(named)
    before = names[: names.index(first)]
    front = {named[name] for name in before if name and not first.startswith(f"{name}.")}
    owned = {module: {id(p) for p in module.parameters()} for module in named.values()}
    early = (module for module, ids in owned.items() if ids and ids <= fixed)
    return front.union(*(module.modules() for module in early))
