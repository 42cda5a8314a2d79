"""Which tensors of a network are of one kind: those of normalisation layers, and biases."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def norm_tensors(model: nn.Module) -> tuple[str, ...]:
    """Names of the scales and shifts of normalisation layers, in the model's order.

    Layers of a class of their own count where its name says so, as timm's `FrozenBatchNorm2d`.
    """
    owners = [name for name, module in model.named_modules() if _normalises(module)]
    prefixes = tuple(f"{name}." for name in owners if name)
    return tuple(name for name, _ in model.named_parameters() if name.startswith(prefixes))


def bias_tensors(model: nn.Module) -> tuple[str, ...]:
    """Names of all biases, those of normalisation layers (their shifts) among them, in the model's order."""
    return tuple(n for n, _ in model.named_parameters() if n.split(".")[-1].endswith("bias"))


def _normalises(module: nn.Module) -> bool:
    named = type(module).__name__.endswith(("Norm", "Norm1d", "Norm2d"))
    return isinstance(module, NORMS) or (named and not list(module.children()))
