"""Every architecture of timm that can be built without weights has blocks.

`pytest -s` shows the counts; `-m slow` goes through all architectures instead of the first of each module.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import pytest
import timm
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze, trainable


class LinspaceOnCpu(TorchFunctionMode):
    """timm 1.0.9 reads its drop rates out of `torch.linspace`; the meta device has no numbers to read."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        device = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **{**(kwargs or {}), **device})


def build(name: str, **options: object) -> tuple[nn.Module, str]:
    """The architecture, and where it was built: "meta", or "cpu" where it can't do without numbers."""
    try:
        with torch.device("meta"), LinspaceOnCpu():
            return timm.create_model(name, pretrained=False, **options), "meta"
    except (NotImplementedError, RuntimeError, TypeError):
        return timm.create_model(name, pretrained=False, **options), "cpu"


def problem(model: nn.Module) -> str:
    """What is wrong with the partition of `model`, "" if nothing."""
    try:
        blocks = Blocks.of(model)
    except Exception as error:  # counted, not raised: one failure should not hide the others
        return f"{type(error).__name__}: {error}"
    found = [parameter for name in blocks for parameter in blocks.parameters(name)]
    if sorted(found) != sorted(name for name, _ in model.named_parameters()):
        return "not a partition"
    body = [name for name in blocks if name != "last"]
    if body != ["stem", *(f"block {i}" for i in range(1, len(body)))] or len(body) < 3:
        return f"odd blocks: {blocks.names}"
    classes = getattr(model, "num_classes", 0)
    if ("last" in blocks) != (classes > 0):
        return f"{classes} classes, but blocks {blocks.names}"
    if classes and not any(len(p) == classes for p in last(model, blocks)):
        return f"no {classes} outputs in {blocks.parameters('last')}"
    return ""


def last(model: nn.Module, blocks: Blocks) -> list[nn.Parameter]:
    return [model.get_parameter(name) for name in blocks.parameters("last")]


def go_through(names: list[str]) -> None:
    built: Counter[str] = Counter()
    wrong = {}
    for name in names:
        model, where = build(name)
        built[where] += 1
        if text := problem(model):
            wrong[name] = text
    print(
        f"\ntimm {timm.__version__}: {len(names) - len(wrong)} of {len(names)}, built on {dict(built)}"
    )
    assert not wrong


def first_of_each_module() -> list[str]:
    listed = (timm.list_models(module=module) for module in timm.list_modules())
    return [names[0] for names in listed if names]


def test_first_architecture_of_each_module() -> None:
    names = first_of_each_module()
    assert len(names) > 60
    go_through(names)


@pytest.mark.slow
def test_every_architecture() -> None:
    names = timm.list_models()
    assert len(names) > 1000
    go_through(names)
