"""Passes counted from layers, against PyTorch's own count of what a training step computes."""

import pytest
import torch
import torch.nn.functional as F
from small import answering
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from surgicalft.blocks import Blocks
from surgicalft.cost import Costs, Meter
from surgicalft.freezing import freeze
from surgicalft.models.networks import build

IMAGE = torch.zeros(1, 3, 32, 32)


def flops(compute):
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


def step(suffix, features):
    F.cross_entropy(suffix(*features), torch.zeros(1, dtype=torch.int64)).backward()


@pytest.mark.parametrize(
    "selection", ["block 1", "block 2", "block 3", "last", "all", "first_layer"]
)
@pytest.mark.parametrize("name", ["resnet8-bn", "resnet8-gn"])
def test_a_step_costs_what_pytorch_counts(name, selection):
    network = build(name, 10, 0).eval()
    costs = Costs.of(network, IMAGE)
    chosen = Blocks.of(network).select(selection)
    freeze(network, chosen)
    found, kept = answering(network, chosen.parameters, IMAGE)
    whole = flops(lambda: network(IMAGE))
    expected = flops(lambda: step(found, (IMAGE, kept))) / whole
    assert 1 - costs.front(chosen.parameters) + costs.backward(chosen.parameters) == pytest.approx(
        expected
    )


def test_a_transformers_attention_counts_twice_backward():
    network = build("clip-vit-tiny", 10, 0).eval()
    everything = [name for name, _ in network.named_parameters()]
    costs = Costs.of(network, IMAGE)
    network.train()
    both = flops(lambda: step(network, (IMAGE,))) / flops(lambda: network(IMAGE))
    assert 1 + costs.backward(everything) == pytest.approx(both, rel=0.02)
    assert costs.front(["nothing of that name"]) == 1
    assert costs.backward([]) == 0


def test_counting_leaves_the_network_as_it_was():
    network = build("resnet8-bn", 10, 0).train()
    network.conv1.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Costs.of(network, IMAGE)
    assert network.training and not network.conv1.weight.requires_grad
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_exact_numbers_by_hand():
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    costs = Costs.of(network, torch.zeros(1, 2, 2, 2))  # 2 x 32 and 2 x 8 operations
    assert costs.front(["3.weight"]) == pytest.approx(0.8)
    assert costs.backward(["3.weight"]) == pytest.approx(
        0.2
    )  # its weights; nothing in front needs a gradient
    assert costs.backward(["1.weight"]) == pytest.approx(0.2 + 0.8)
    assert costs.backward(["1.weight", "3.bias"]) == pytest.approx(0.2 + 0.8 + 0.2)


def test_a_meter_pays_for_a_cut_once():
    costs = Costs.of(
        nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2)), torch.zeros(1, 2, 2, 2)
    )
    meter = Meter(costs)
    for _ in range(2):
        meter.features("cut", ["2.weight"], 10)
    assert meter.passes == pytest.approx(10 * 0.8)
    meter.forward("cut", ["2.weight"], 5)
    meter.forward("", ["2.weight"], 5)  # uncut: the whole network
    assert meter.passes == pytest.approx(8 + 1 + 5)
    nothing = Meter()
    nothing.backward(["2.weight"], 5)
    assert nothing.passes == 0
