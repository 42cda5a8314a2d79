"""The cut network computes what the whole does, and leaves out what it can."""

import functools

import pytest
import timm
import torch
from torch import nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.fold import Folded
from surgicalft.freezing import freeze, trainable
from surgicalft.models.networks import build
from surgicalft.models.normalized import CLIP, IMAGENET, Normalized
from surgicalft.models.resnet50 import resnet50
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.models.rvt import RVT
from surgicalft.split import Whole, split, trace


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ResNetCifar(14, widths=(8, 16, 32), norm="group").eval()


IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def cut(network, selection):
    chosen = Blocks.of(network).select(selection)
    freeze(network, chosen)
    return split(network, trace(network), chosen.parameters, IMAGES)


@pytest.mark.parametrize("selection", ["block 2", "block 3", "last", "tensors:layer2.1.bn2.weight"])
def test_parts_compose_to_the_whole(network, selection):
    parts = cut(network, selection)
    assert parts.cut
    torch.testing.assert_close(parts.suffix(*parts.prefix(IMAGES)), network(IMAGES))


def test_the_prefix_holds_no_tuned_parameter_and_the_suffix_no_earlier_one(network):
    parts = cut(network, "block 3")
    prefix = {name for name, _ in parts.prefix.named_parameters()}
    suffix = {name for name, _ in parts.suffix.named_parameters()}
    assert prefix and not {n for n in prefix if n.startswith(("layer3", "bn", "fc"))}
    assert suffix == {n for n in suffix if n.startswith(("layer3", "bn", "fc"))} != set()
    assert prefix | suffix == {name for name, _ in network.named_parameters()}


def test_the_parts_share_their_parameters_with_the_network(network):
    parts = cut(network, "last")
    with torch.no_grad():
        network.fc.bias += 1
    torch.testing.assert_close(parts.suffix(*parts.prefix(IMAGES)), network(IMAGES))


@pytest.mark.parametrize("selection", ["all", "block 1", "first_layer"])
def test_nothing_fixed_in_front_but_the_normalisation(network, selection):
    parts = cut(network, selection)
    assert not list(parts.prefix.parameters())
    torch.testing.assert_close(parts.suffix(*parts.prefix(IMAGES)), network(IMAGES))


def test_with_nothing_in_front_the_images_are_the_features():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(3600, 2)
    network = nn.Sequential(*layers)
    network(IMAGES)  # statistics other than 0 and 1
    tuned = tuple(name for name, _ in network.named_parameters())
    freeze(network.eval(), Selection("all", tuned))
    parts = split(network, trace(network), tuned, IMAGES)
    assert parts.cut == "" and torch.equal(parts.prefix(IMAGES)[0], IMAGES)
    assert any(isinstance(layer, Folded) for layer in parts.suffix.modules())
    with torch.no_grad():
        network[0].weight += 1  # what learns is read afresh
    torch.testing.assert_close(parts.suffix(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_tuning_nothing_makes_everything_prefix(network):
    parts = cut(network, "none")
    assert not list(parts.suffix.parameters())
    torch.testing.assert_close(parts.suffix(*parts.prefix(IMAGES)), network(IMAGES))


@functools.cache
def large(name):
    """Small relatives of the large architectures, for images of another size than theirs."""
    torch.manual_seed(0)
    if name == "resnet50":
        return Normalized(resnet50(5), *IMAGENET, 48)
    if name == "rvt":
        return Normalized(RVT(5, size=48, width=32, depth=4, heads=2, scaled=2), *IMAGENET, 48)
    if name == "timm":
        vit = timm.models.VisionTransformer(
            48, 16, num_classes=5, embed_dim=32, depth=4, num_heads=2
        )
        return Normalized(vit, *CLIP, 48)
    return build(name, 5, seed=0)


@pytest.mark.parametrize(
    ("name", "selection", "cut"),
    [
        ("clip-vit-tiny", "last", True),
        ("clip-vit-tiny", "last_three", True),
        ("clip-vit-tiny", "block 3+last", True),
        ("clip-vit-tiny", "embedding", False),
        ("clip-vit-tiny", "tensors:network.visual.class_embedding", True),
        ("clip-vit-tiny", "tensors:network.visual.transformer.resblocks.2.ln_1.bias", True),
        ("clip-vit-tiny-grouped", "block 4", True),
        ("rvt", "last", True),
        ("rvt", "block 3+last", True),
        ("rvt", "first_layer", True),
        ("rvt", "embedding", False),
        ("rvt", "tensors:network.transformers.0.blocks.1.attn.att_mask", True),
        ("resnet50", "last", True),
        ("resnet50", "block 3+last", True),
        ("resnet50", "block 1", False),
        ("resnet50", "all", False),
        ("timm", "block 3+last", True),
        ("timm", "tensors:network.blocks.2.attn.proj.bias", True),
        ("timm", "stem", False),
    ],
)
def test_large_architectures_are_cut_and_learn_the_same(name, selection, cut):
    """Outputs and the gradients of what is tuned; without a cut, the images are what is kept."""
    network, labels = large(name).train(), torch.tensor([0, 1, 2, 3])
    chosen = Blocks.of(network).select(selection)
    freeze(network, chosen)
    parts = split(network, trace(network), chosen.parameters, IMAGES)
    assert bool(parts.cut) == cut and not isinstance(parts.suffix, Whole)
    assert not {n for n, _ in parts.prefix.named_parameters()} & set(chosen.parameters)
    parameters = trainable(network)
    expected, plain = network(IMAGES), parts.suffix(*parts.prefix(IMAGES))
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-4)
    gradients = (
        torch.autograd.grad(nn.functional.cross_entropy(outputs, labels), parameters)
        for outputs in (plain, expected)
    )
    for found, reference in zip(*gradients, strict=True):
        error = (found - reference).norm() / reference.norm().clamp(min=1e-6)
        assert error < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip-vit-b-16", "rvt-small", "resnet50"])
def test_architectures_at_their_own_size(name):
    network = build(name, 5, seed=0).eval()
    images = torch.rand(2, 3, 224, 224)
    for selection in ("last", "block 3+last"):
        chosen = Blocks.of(network).select(selection)
        freeze(network, chosen)
        parts = split(network, trace(network), chosen.parameters, images)
        assert parts.cut
        with torch.no_grad():
            torch.testing.assert_close(
                parts.suffix(*parts.prefix(images)), network(images), rtol=1e-4, atol=1e-4
            )


class Overwriting(nn.Module):
    """It adds in place to what was computed in front of the cut."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, images):
        x = images.mean((2, 3))
        y = self.a(x)
        return y.add_(self.b(x))


def test_features_that_would_be_overwritten_are_not_kept():
    network = Overwriting().eval()
    chosen = Selection("b", ("b.weight", "b.bias"))
    freeze(network, chosen)
    parts = split(network, trace(network), chosen.parameters, IMAGES)
    assert parts.cut == ""
    features = parts.prefix(IMAGES)
    for _ in range(2):
        torch.testing.assert_close(parts.suffix(*features), network(IMAGES))


class Branching(nn.Module):
    """Its path depends on the values, so it has no graph."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, images):
        x = images.mean((2, 3))
        return self.b(self.a(x) if x.sum() > 0 else x)


class Moody(Branching):
    """It computes something else while it trains."""

    def forward(self, images):
        x = nn.functional.dropout(images.mean((2, 3)), 0.5, self.training)
        return self.b(self.a(x))


@pytest.mark.parametrize("kind", [Branching, Moody])
def test_a_network_that_cannot_be_cut_is_left_whole(kind):
    network = kind().eval()
    parts = split(network, trace(network), ["b.weight", "b.bias"], IMAGES)
    assert parts.cut == ""
    torch.testing.assert_close(parts.suffix(*parts.prefix(IMAGES)), network(IMAGES))
