"""Noise in one block: its formula, its level, what it leaves alone, and networks that carry it."""

import copy
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from small import answering
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.evaluate import accuracy, to_float
from surgicalft.freezing import freeze, trainable
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.shifts.activation_noise import GAIN, OFFSET, distort, output_module
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.parameter_noise import IMAGES, PLACES, Damage, Planted, noise, plant

BLOCKS = ("block 1", "block 2", "block 3", "last")


class Two(nn.Module):
    """Logits of `used`, times a bare parameter; `unused` is computed and thrown away."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.unused, self.used = nn.Linear(12, 2), nn.Linear(12, 2)
        self.bare = nn.Parameter(torch.ones(2))

    def forward(self, images):
        self.unused(images.flatten(1))
        return self.bare * self.used(images.flatten(1))

    def block_patterns(self):
        return {"unused": r"unused\.", "used": r"used\.|bare"}


@cache
def trained():
    """A network that has learned ten noisy patterns, and 200 of its images, all of which it gets right."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (10, 3, 8, 8), generator=random)
    labels = torch.arange(200) % 10
    noisy = patterns[labels] + 20 * torch.randn(200, 3, 8, 8, generator=random)
    data = Labelled(noisy.clamp(0, 255).to(torch.uint8), labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNetCifar(8, (8, 8, 8))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(network(to_float(data.images)), labels).backward()
        optimizer.step()
    assert accuracy(network, data) == 100
    return network.eval(), data


def small():
    return copy.deepcopy(trained()[0])


def learned(network, n=200, size=8):
    """Random images, with the network's own predictions as labels: its accuracy is 100."""
    random = torch.Generator().manual_seed(1)
    images = torch.randint(256, (n, 3, size, size), generator=random, dtype=torch.uint8)
    with torch.no_grad():
        return Labelled(images, network(to_float(images)).argmax(1))


def test_the_formula():
    network = small()
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    names = Blocks.of(network).parameters("block 2")
    rescale = noise(network, names, seed=3)
    rescale(0.5)
    drawn = []
    for name, now in network.named_parameters():
        if name not in names:
            assert torch.equal(now, start[name])
        elif start[name].any():
            drawn.append(
                ((now - start[name]) / (0.5 * start[name].square().mean().sqrt())).flatten()
            )
        else:
            assert not now.any(), "a tensor of zeros has no size that noise could be relative to"
    e = torch.cat(drawn).detach()
    assert len(e) > 1000 and abs(e.mean()) < 0.1 and e.std() == pytest.approx(1, abs=0.1)
    rescale(1.0)
    twice = torch.cat([(dict(network.named_parameters())[n] - start[n]).flatten() for n in names])
    rescale(0.5)
    once = torch.cat([(dict(network.named_parameters())[n] - start[n]).flatten() for n in names])
    torch.testing.assert_close(twice, 2 * once, rtol=1e-3, atol=1e-6)
    rescale(0.0)
    assert all(torch.equal(p, start[name]) for name, p in network.named_parameters())


def test_a_direction_belongs_to_its_seed():
    def direction(seed):
        network = small()
        noise(network, ("fc.weight",), seed)(1.0)
        return network.fc.weight - small().fc.weight

    assert torch.equal(direction(0), direction(0))
    assert (direction(0) != direction(1)).all()


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("block", BLOCKS)
def test_the_level_is_met_and_nothing_else_is_touched(block, where):
    network, data = small(), trained()[1]
    start = small().state_dict()
    damage = plant(network, Planted(block, 60.0, where), data)
    assert damage.clean == 100 and damage.scale > 0
    assert damage.accuracy == pytest.approx(60, abs=1)
    assert accuracy(network, data) == pytest.approx(damage.accuracy)
    own = Blocks.of(small()).parameters(block) if where == "parameters" else ()
    now = network.state_dict()
    changed = {name for name in start if not torch.equal(start[name], now[name])}
    assert changed == {name for name in own if start[name].any()}
    assert all(p.requires_grad for p in network.parameters())
    added = set(now) - set(start)
    assert len(added) == (2 if where == "activations" else 0)


@pytest.mark.parametrize("where", PLACES)
def test_the_same_again(where):
    def planted(seed):
        network = small()
        damage = plant(network, Planted("block 2", 50.0, where, seed), trained()[1])
        return damage, network(to_float(learned(small(), 5).images))

    (damage, outputs), (again, same), (other, _) = planted(0), planted(0), planted(1)
    assert damage == again and torch.equal(outputs, same)
    assert damage.scale != other.scale


def test_many_images_are_not_all_used():
    network, some = small(), trained()[1]
    data = some.take(torch.arange(2 * IMAGES) % 200)
    damage = plant(network, Planted("last", 60.0), data)
    assert damage.accuracy == pytest.approx(60, abs=1)
    assert accuracy(network, data) == pytest.approx(60, abs=8)  # 5 times each


def test_distorted_activations():
    network = small()
    images = learned(network, 20).images
    x = to_float(images)
    clean = network.layer1(network.conv1(network.normalize(x))).detach()
    distort(network, "block 1", Blocks.of(network), images, seed=0)(0.5)
    gain, offset = getattr(network.layer1, GAIN), getattr(network.layer1, OFFSET)
    assert gain.shape == offset.shape == (1, 8, 1, 1)
    now = network.layer1(network.conv1(network.normalize(x)))
    torch.testing.assert_close(now, gain * clean + offset)
    e = offset / (0.5 * clean.square().mean().sqrt())
    assert e.square().mean().sqrt().item() == pytest.approx(1, abs=0.7)
    assert not torch.allclose(now, clean)


def test_where_a_block_ends():
    network = ResNetCifar(8)
    ends = {block: output_module(network, block, Blocks.of(network)) for block in BLOCKS}
    assert ends == {"block 1": "layer1", "block 2": "layer2", "block 3": "bn", "last": "fc"}


@pytest.mark.parametrize("damaged", BLOCKS)
@pytest.mark.parametrize("tuned", BLOCKS)
def test_copies_answers_and_freezing_keep_the_distortion(damaged, tuned):
    network = small()
    images = learned(network, 20).images
    distort(network, damaged, Blocks.of(network), images, seed=0)(0.7)
    twin = copy.deepcopy(network)
    expected = twin(to_float(images))
    assert not torch.allclose(expected, small()(to_float(images)), atol=1e-3)
    assert Blocks.of(twin).blocks == Blocks.of(small()).blocks
    selection = Blocks.of(twin).select(tuned)
    freeze(twin, selection)
    found, kept = answering(twin, selection.parameters, to_float(images))
    assert found.plan or tuned == "block 1" or damaged != "last"  # a module with a hook is computed
    torch.testing.assert_close(found(to_float(images), kept), expected, rtol=1e-4, atol=1e-5)
    assert len(trainable(twin)) == len(selection.parameters)


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        (Planted("block 4", 50.0), r"block must be one of \['block 1', .*'last'\], not 'block 4'"),
        (Planted("last", 9.0), r"at least chance \(10\).* \(100\), not 9"),
    ],
)
def test_what_can_not_be_planted(planted, message):
    network = small()
    with pytest.raises(ValueError, match=message):
        plant(network, planted, trained()[1])
    start = small().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in network.state_dict().items())


def test_a_level_above_the_clean_accuracy():
    network, data = small(), trained()[1]
    wrong = Labelled(data.images, (data.labels + (torch.arange(200) < 100)) % 10)
    with pytest.raises(ValueError, match=r"below that of the network without noise \(50\), not 70"):
        plant(network, Planted("last", 70.0), wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"where": "inputs"},
            r"where must be one of \['parameters', 'activations'\], not 'inputs'",
        ),
        ({"accuracy": 0.0}, "accuracy must be a number between 0 and 100, but neither, not 0"),
        ({"accuracy": 100.0}, "not 100"),
        ({"accuracy": float("nan")}, "not nan"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Planted(**{"block": "last", "accuracy": 50.0, **settings})


@pytest.mark.parametrize("where", PLACES)
def test_a_block_without_influence(where):
    network = Two()
    start = copy.deepcopy(network.state_dict())
    data = learned(network, size=2)
    with pytest.raises(
        ValueError, match=r"no noise in the .* of 'unused' gives .* 70: 100 without"
    ):
        plant(network, Planted("unused", 70.0, where), data)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in start.items())


def test_a_block_of_zeros():
    network = Two()
    nn.init.zeros_(network.unused.weight)
    nn.init.zeros_(network.unused.bias)
    with pytest.raises(ValueError, match=r"all tensors are zero.*unused\.weight"):
        plant(network, Planted("unused", 70.0), learned(network, size=2))


def test_activations_of_what_is_no_module():
    network = Two()
    with pytest.raises(ValueError, match=r"parameter 'bare' of 'used' lies in no module"):
        plant(network, Planted("used", 70.0, "activations"), learned(network, size=2))
    assert plant(network, Planted("used", 70.0), learned(network, size=2)).accuracy < 72


def test_activations_are_distorted_once():
    network, data = small(), trained()[1]
    plant(network, Planted("block 2", 60.0, "activations"), data)
    with pytest.raises(ValueError, match=r"'block 2' \(layer2\) is distorted already"):
        plant(network, Planted("block 2", 60.0, "activations"), data)


def test_too_few_images():
    network = small()
    with pytest.raises(ValueError, match="1 images are too few"):
        plant(network, Planted("last", 60.0), learned(network, 1))


@pytest.mark.slow
def test_the_published_network(real_data):
    """The level, set on images of the source, holds on others; it takes seconds, not minutes."""
    from surgicalft.models.zoo import load_published
    from surgicalft.shifts import load_source

    source = load_source("cifar10-jpeg", real_data)
    for block in BLOCKS:
        network = load_published("memo-resnet26-gn", real_data)
        damage = plant(network, Planted(block, 50.0), source.valid)
        assert isinstance(damage, Damage) and damage.accuracy == pytest.approx(50, abs=1)
        assert damage.clean > 85
        test = source.test.take(torch.arange(0, 10_000, 7))
        assert accuracy(network, test) == pytest.approx(50, abs=12)
