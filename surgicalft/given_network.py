"""The network as a user gives it: wrappers looked through, a copy that never fails, its type and memory format."""

import copy
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LEARNING_TYPES = (torch.float32, torch.float64)


def unwrap(model: nn.Module) -> tuple[nn.Module, str]:
    """The network inside torch.compile and DataParallel, and the prefix of its parameters' names in `model`.

    Raises ValueError for DistributedDataParallel, whose gradients are averaged between processes.
    """
    prefix = ""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            raise ValueError(
                "the network is wrapped in DistributedDataParallel, which averages gradients between processes: give "
                "the network inside, `model.module`"
            )
        if isinstance(model, nn.DataParallel):
            inner, part = model.module, "module."
        elif "_orig_mod" in model._modules:  # torch.compile's OptimizedModule
            inner, part = model._modules["_orig_mod"], "_orig_mod."
        else:
            return model, prefix
        assert inner is not None
        model, prefix = inner, prefix + part


def copy_network(model: nn.Module) -> nn.Module:
    """A deep copy, also of a network whose modules keep activations, which PyTorch refuses to copy.

    Such tensors (kept for Grad-CAM, or computed by the old `weight_norm`) are copied without their graph.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in kept_tensors(vars(module)):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    with (
        torch.no_grad()
    ):  # else copies of scripted modules' parameters would be computed from these
        twin = copy.deepcopy(model, memo)
    for own, parameter in zip(twin.parameters(), model.parameters(), strict=True):
        own.requires_grad_(parameter.requires_grad)
    return twin


def kept_tensors(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """In an attribute, and in the lists and dictionaries there."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from kept_tensors(item, depth - 1)
    elif depth and isinstance(value, list | tuple | deque):
        for item in value:
            yield from kept_tensors(item, depth - 1)


def image_type(model: nn.Module) -> torch.dtype:
    """The type of numbers that the network takes: that of its first floating-point parameter, float32 without one."""
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(kinds, torch.float32)


def check_type(model: nn.Module) -> None:
    """ValueError for weights of 16 bits, which are too coarse to learn: small steps round to nothing."""
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if bad := sorted(str(kind) for kind in kinds if kind not in LEARNING_TYPES):
        raise ValueError(
            f"{type(model).__name__} has weights of {', '.join(bad)}, which round small steps to nothing: tune "
            "`model.float()`, with precision='bfloat16' for faster passes"
        )


def takes_channels_last(model: nn.Module) -> bool:
    """Whether its convolutions' weights lie so in memory that images should, too."""
    return any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
    )


@contextmanager
def fast_format(model: nn.Module, example: Tensor) -> Iterator[None]:
    """Within, weights of convolutions lie channels last, which is faster, if the network works so.

    It does not if its forward calls `view` on a convolution's output. `example` is a float image (1, c, h, w).
    Afterwards every tensor has the memory format that it had.
    """
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.ndim == 4]
    before = [tensor.stride() for tensor in tensors]
    if example.ndim == 4 and _own_memory(tensors) and _works_channels_last(model, example):
        _set_format(tensors, torch.channels_last)
    try:
        yield
    finally:
        for tensor, strides in zip(tensors, before, strict=True):
            if tensor.stride() != strides:
                tensor.data = torch.empty_strided(
                    tensor.shape, strides, dtype=tensor.dtype, device=tensor.device
                ).copy_(tensor.data)


def _own_memory(tensors: list[Tensor]) -> bool:
    """Whether each lies whole in memory of its own: what is shared or expanded would be torn apart."""
    places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
    dense = all(
        t.is_contiguous() or t.is_contiguous(memory_format=torch.channels_last) for t in tensors
    )
    return dense and len(set(places)) == len(places)


def _set_format(tensors: list[Tensor], memory_format: torch.memory_format) -> None:
    for tensor in tensors:
        tensor.data = tensor.data.contiguous(memory_format=memory_format)


@torch.no_grad()
def _works_channels_last(model: nn.Module, example: Tensor) -> bool:
    """Tried on a copy; a network that works in no format is found out elsewhere, with a better word."""
    twin = copy_network(model).eval()
    _set_format(
        [t for t in (*twin.parameters(), *twin.buffers()) if t.ndim == 4], torch.channels_last
    )
    try:
        twin(example.contiguous(memory_format=torch.channels_last))
    except Exception:  # the network's own code, which may raise anything
        return False
    return True
