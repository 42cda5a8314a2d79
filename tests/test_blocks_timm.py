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
from surgicalft.freezing import freeze

NOT_IN_ORDER = {
    "efficientvit_b0": "its forward asks for autocast, which the meta device has not",
    "efficientvim_m1": "each stage has a side exit, whose normalisation belongs to the last block",
}


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
    stem = ["stem"] * (type(model).__name__ != "ResNet")  # which has its stem in block 1
    if (
        body != [*stem, *(f"block {i}" for i in range(1, len(body) + 1 - len(stem)))]
        or len(body) < 3
    ):
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


class FirstUse(TorchFunctionMode):
    """Notes in which order the parameters of `model` are first used."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.order: list[str] = []

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func.__name__ != "__get__":  # reading a shape is no use
            self.order += [n for n in self._parameters([args, kwargs]) if n not in self.order]
        return func(*args, **(kwargs or {}))

    def _parameters(self, values: object) -> list[str]:
        if isinstance(values, Mapping):
            values = list(values.values())
        if isinstance(values, tuple | list):
            return [name for value in values for name in self._parameters(value)]
        return [self.names[id(values)]] if id(values) in self.names else []


def misordered(name: str) -> list[str]:
    """The blocks of an architecture in the order of their first use, [] where that is their order."""
    model = build(name)[0].to("meta").eval()
    blocks = Blocks.of(model)
    with FirstUse(model) as uses:
        model(torch.empty(2, *model.pretrained_cfg["input_size"], device="meta"))
    used = list(dict.fromkeys(blocks.block_of(parameter) for parameter in uses.order))
    assert len(used) == len(blocks)
    return [] if used == list(blocks) else used


@pytest.mark.parametrize(
    ("name", "blocks", "stem", "behind"),
    [  # behind: what comes last of all in front of the classifier
        ("vit_tiny_patch16_224", 12, {"cls_token", "pos_embed"}, "norm.bias"),
        ("vit_base_patch16_clip_224", 12, {"cls_token", "norm_pre.weight"}, "norm.bias"),
        ("vit_small_patch14_reg4_dinov2", 12, {"reg_token"}, "norm.bias"),
        ("deit_tiny_distilled_patch16_224", 12, {"dist_token"}, "norm.bias"),
        ("convnext_atto", 4, {"stem.0.weight", "stem.1.bias"}, "head.norm.bias"),
        ("mobilenetv3_small_100", 7, {"conv_stem.weight"}, "conv_head.bias"),
        ("pit_ti_224", 3, {"cls_token", "pos_embed"}, "norm.bias"),  # no matcher
        ("rdnet_tiny", 7, {"stem.0.weight"}, "head.norm.bias"),  # a fine one only
        ("levit_128s", 3, {"stem.conv1.linear.weight"}, "stages.2.blocks.3.mlp.ln2.bn.bias"),
    ],
)
def test_known_partitions(name: str, blocks: int, stem: set[str], behind: str) -> None:
    model, _ = build(name, num_classes=10)
    found = Blocks.of(model)
    assert found.names == ("stem", *(f"block {i + 1}" for i in range(blocks)), "last")
    assert stem <= set(found.parameters("stem"))
    assert found.parameters(f"block {blocks}")[-1] == behind
    assert problem(model) == ""


def test_the_stem_of_a_resnet_is_in_its_first_block() -> None:
    found = Blocks.of(build("resnet18", num_classes=10)[0])
    assert found.names == (*(f"block {i}" for i in range(1, 5)), "last")
    assert {"conv1.weight", "bn1.weight", "bn1.bias"} <= set(found.parameters("block 1"))
    assert found.parameters("block 4")[-1] == "layer4.1.bn2.bias"


def test_both_heads_of_a_distilled_model_are_last() -> None:
    blocks = Blocks.of(build("deit_tiny_distilled_patch16_224")[0])
    heads = ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias")
    assert blocks.parameters("last") == heads


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "levit_128s", "pit_ti_224"]
)
def test_without_classifier_no_last(name: str) -> None:
    whole, body = Blocks.of(build(name)[0]), Blocks.of(build(name, num_classes=0)[0])
    assert body.names == whole.names[:-1]
    assert all(body.parameters(block) == whole.parameters(block) for block in body)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "vit_tiny_patch16_224", "pit_ti_224", "twins_svt_small", "visformer_tiny"],
)
def test_blocks_follow_computation(name: str) -> None:
    assert not misordered(name)


def test_chance_is_off_in_front_though_registered_behind() -> None:
    model, _ = build("twins_svt_small", drop_path_rate=0.1)
    blocks = Blocks.of(model)
    freeze(model, blocks.select("block 3:last"))  # its patch_embeds.2 is registered before blocks.0
    model.train()
    assert not any(m.training for i in (0, 1) for m in model.blocks[i].modules())
    assert model.blocks[2].training and model.blocks[2][0].drop_path1.training


def architectures(module: str = "") -> list[str]:
    """timm's own: another package that was imported, robustbench for one, may have registered more."""
    names = timm.list_models(module=module)
    return [n for n in names if timm.model_entrypoint(n).__module__.startswith("timm.")]


def first_of_each_module() -> list[str]:
    listed = (architectures(module) for module in timm.list_modules())
    return [names[0] for names in listed if names]


def test_first_architecture_of_each_module() -> None:
    names = first_of_each_module()
    assert len(names) > 60
    go_through(names)


@pytest.mark.slow
def test_first_architectures_follow_computation() -> None:
    runs = [name for name in first_of_each_module() if name not in NOT_IN_ORDER]
    wrong = {name: order for name in runs if (order := misordered(name))}
    assert not wrong


@pytest.mark.slow
def test_every_architecture() -> None:
    names = architectures()
    assert len(names) > 1000
    go_through(names)
