"""Which layers take adapters, and what adapters cost. Needs the extra `lora`."""

import pytest
import torch
import torch.nn.functional as F
from small import answering
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from surgicalft.blocks import Blocks, Selection
from surgicalft.cost import Costs
from surgicalft.freezing import freeze
from surgicalft.lora import adaptable, adapted_costs, inject, restore
from surgicalft.models.networks import build

pytest.importorskip("peft", reason="needs the extra lora")
IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def everything(model):
    return Selection("all", tuple(name for name, _ in model.named_parameters()))


def with_random_adapters(model, rank=2):
    """The names of the adapted layers and of the adapters, whose B is zero no more."""
    layers = adaptable(model, everything(model), IMAGE)
    adapters = inject(model, layers, rank, seed=0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in adapters[1::2]:
            weight = model.get_parameter(name)
            weight.copy_(0.1 * torch.randn(weight.shape, generator=random))
    return layers, adapters


class Odd(nn.Conv2d):
    """Centres its weight, as an adapter beside it would not."""

    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias, padding=1)


class Kinds(nn.Module):
    """A convolution of every kind, in a row; (n, 3, 16, 16) -> (n, 4)."""

    def __init__(self):
        super().__init__()
        self.strided = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.pointwise = nn.Conv2d(8, 8, 1, bias=False)
        self.same = nn.Conv2d(8, 8, (5, 3), padding="same")
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.reflecting = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.odd = Odd(8, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.tied, self.again = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.again.weight = self.tied.weight
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.pointwise(self.strided(x)).relu()
        x = self.depthwise(self.grouped(self.same(x))).relu()
        x = self.norm(self.odd(self.reflecting(self.dilated(x)))).relu()
        return self.head(self.again(self.tied(x)).mean((2, 3)) + self.unused.bias)


def test_layers_that_take_adapters():
    """And for each of them the merged network equals the one with adapters."""
    torch.manual_seed(0)
    model = Kinds().eval()
    assert adaptable(model, everything(model), IMAGE) == ("strided", "pointwise", "same", "head")
    with torch.no_grad():
        before = model(IMAGE)
        layers, _ = with_random_adapters(model, rank=3)
        expected = model(IMAGE)
        for name in layers:
            model.get_submodule(name).merge()
        restore(model, layers)
        assert not torch.allclose(before, expected, rtol=1e-2)
        torch.testing.assert_close(model(IMAGE), expected, rtol=1e-5, atol=1e-6)


def test_peft_still_lacks_what_is_left_out():
    """What `adaptable` says of peft."""
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2))
    with pytest.warns(UserWarning, match="Merging is not supported"):
        inject(model, ["0"], 2, seed=0)
    with pytest.raises(NotImplementedError):
        model[0].merge()
    for more in ({"dilation": 2}, {"padding_mode": "reflect"}):
        model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=2, **more))
        inject(model, ["0"], 2, seed=0)
        low = model[0].lora_A["default"]
        assert any(getattr(low, name) != value for name, value in more.items()), more


def test_of_a_tower_with_multihead_attention_the_rest():
    tower = build("clip-vit-tiny", 4, 0)
    layers = adaptable(tower, everything(tower), torch.rand(1, 3, 32, 32))
    assert len(layers) == 2 + 2 * 8 and not any("attn" in name for name in layers)
    block = "network.visual.transformer.resblocks.3"
    assert {f"{block}.mlp.c_fc", f"{block}.mlp.c_proj", "network.head"} <= set(layers)


def test_of_a_transformer_with_layers_of_its_own_everything():
    model = VisionTransformer(16, 8, num_classes=4, embed_dim=64, depth=2, num_heads=2)
    layers = adaptable(model, everything(model), IMAGE)
    inside = [f"blocks.1.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
    assert [name for name in layers if name.startswith("blocks.1.")] == inside
    assert {"patch_embed.proj", "head"} <= set(layers)


def flops(compute):
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["resnet8-bn", "resnet8-gn", "clip-vit-tiny"])
def test_what_is_in_front_of_adapters_answers_from_memory(name):
    model = build(name, 4, 0)
    _, adapters = with_random_adapters(model)
    freeze(model, Selection("adapters", adapters))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found, kept = answering(model, adapters[-2:], images)
    assert found.plan
    with torch.no_grad():
        outputs = found(images, kept)
        torch.testing.assert_close(outputs, model.eval()(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet8-gn", "clip-vit-tiny"])
def test_costs_with_adapters_are_those_that_are_counted(name):
    model, image = build(name, 10, 0), torch.zeros(1, 3, 32, 32)
    layers = adaptable(model, everything(model), image)
    derived = adapted_costs(Costs.of(model, image), model, layers, rank=3)
    inject(model, layers, 3, seed=0)
    counted = Costs.of(model, image)
    of_adapters = [
        {name: layer.flops for layer in costs.layers for name in layer.tensors if ".lora_" in name}
        for costs in (derived, counted)
    ]
    assert of_adapters[0] == of_adapters[1] and len(of_adapters[0]) == 2 * len(layers)
    assert sum(x.flops for x in derived.layers) == sum(x.flops for x in counted.layers)


@pytest.mark.parametrize("selection", ["block 1", "block 2", "last", "all"])
def test_a_step_costs_what_pytorch_counts(selection):
    model, image = build("resnet8-gn", 10, 0).eval(), torch.zeros(1, 3, 32, 32)
    chosen, costs = Blocks.of(model).select(selection), Costs.of(model, image)
    layers = adaptable(model, chosen, image)
    adapted = adapted_costs(costs, model, layers, rank=3)
    adapters = inject(model, layers, 3, seed=0)
    freeze(model, Selection("adapters", adapters, chosen.front))
    found, kept = answering(model, adapters, image)
    assert found.plan  # of the first adapted layer at least what its own weights give
    label = torch.zeros(1, dtype=torch.int64)
    expected = flops(lambda: F.cross_entropy(found(image, kept), label).backward())
    whole = sum(layer.flops for layer in adapted.layers)
    memory = {name for name, _ in found.plan.outputs}
    share = 1 - adapted.inside(memory) + adapted.backward(adapters)
    assert share * whole == pytest.approx(expected)
