"""The cut network computes what the whole does, and leaves out what it can."""

import pytest
import torch
from torch import nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.fold import Folded
from surgicalft.freezing import freeze
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.split import FeatureCache, compute_features, split, trace


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


def test_features_are_computed_once_and_dropped_when_there_is_no_room(network):
    parts, images = cut(network, "last"), torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    calls = []
    parts.prefix.register_forward_hook(lambda *_: calls.append(1))
    cache = FeatureCache(None)
    first, again = (cache.get(parts, "tune", images) for _ in range(2))
    assert len(calls) == 1 and first[0] is again[0]
    small = FeatureCache(None, max_bytes=1)
    assert sum(len(batch[0]) for batch in small.batches(parts, "test", images, size=4)) == 10
    assert not small._recent.size  # streamed, nothing kept


def test_batches_are_the_features_in_order(network):
    images = torch.randint(0, 256, (11, 3, 32, 32), dtype=torch.uint8)
    parts = cut(network, "block 3")
    expected = compute_features(parts.prefix, images)
    for cache in (FeatureCache(None), FeatureCache(None, max_bytes=1)):
        got = zip(*cache.batches(parts, "test", images, size=4), strict=True)
        for values, value in zip(got, expected, strict=True):
            torch.testing.assert_close(torch.cat(values), value)
