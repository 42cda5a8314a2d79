"""Passes counted from layers, against PyTorch's own count of what a training step computes."""

import pytest
import timm
import torch
import torch.nn.functional as F
from small import answering
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from surgicalft.blocks import Blocks
from surgicalft.cost import Costs, Meter
from surgicalft.freezing import freeze
from surgicalft.models.networks import build

IMAGE = torch.zeros(1, 3, 32, 32)


def flops(compute):
    """By PyTorch's counter, which knows attention's plain kernel on every version."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
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
    assert 1 - costs.inside({name for name, _ in found.plan.outputs}) + costs.backward(
        chosen.parameters
    ) == pytest.approx(expected)


def test_a_transformers_attention_counts_twice_backward():
    network = build("clip-vit-tiny", 10, 0).eval()
    everything = [name for name, _ in network.named_parameters()]
    costs = Costs.of(network, IMAGE)
    network.train()
    both = flops(lambda: step(network, (IMAGE,))) / flops(lambda: network(IMAGE))
    assert 1 + costs.backward(everything) == pytest.approx(both, rel=0.02)
    assert costs.inside(["nothing of that name"]) == 0 == costs.inside([])
    assert costs.inside(["network"]) == pytest.approx(1)
    assert costs.backward([]) == 0


TOKENS, WIDTH, HEADS = 5, 8, 2
# in and out of attention, and of its two products: 2 x tokens x inputs x outputs
PROJECTED = 2 * TOKENS * WIDTH * 4 * WIDTH
ATTENDED = 2 * (2 * TOKENS * TOKENS * WIDTH)  # of all heads: 2 s t d each, and width = heads x d
GRADIENTS = {"with": torch.enable_grad, "without": torch.no_grad, "never": torch.inference_mode}


class Attending(nn.Module):
    """Images (n, 8, 5, 1) as 5 tokens of width 8, through nn.MultiheadAttention and a linear layer."""

    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.last = nn.Linear(WIDTH, 3)
        self.need_weights = need_weights

    def forward(self, images):
        x = images.flatten(2).mT
        return self.last(self.attention(x, x, x, need_weights=self.need_weights)[0].mean(1))


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("need_weights", [True, False])  # one step by step, one in one kernel
def test_attention_counted_by_hand(need_weights, gradients):
    network = Attending(need_weights)
    with GRADIENTS[gradients]():
        costs = Costs.of(network, torch.zeros(1, WIDTH, TOKENS, 1))
    counted = {tensor: layer.flops for layer in costs.layers for tensor in layer.tensors}
    assert counted["attention.in_proj_weight"] == PROJECTED + ATTENDED
    assert counted["last.weight"] == 2 * WIDTH * 3


@pytest.mark.parametrize("gradients", GRADIENTS)
def test_a_transformer_encoder_counted_by_hand(gradients):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True)
    network = nn.Sequential(nn.Flatten(2), nn.Linear(WIDTH, WIDTH), layer)
    with GRADIENTS[gradients]():
        costs = Costs.of(network, torch.zeros(1, TOKENS, WIDTH, 1))
    feedforward = 2 * (2 * TOKENS * WIDTH * 16)
    embedded = 2 * TOKENS * WIDTH * WIDTH
    total = sum(layer.flops for layer in costs.layers)
    assert total == embedded + PROJECTED + ATTENDED + feedforward


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("fused", [True, False])
def test_a_transformer_of_timm_counted_by_hand(fused, gradients):
    """4 tokens and the class's, of width 64, two blocks."""
    network = timm.create_model(
        *("vit_tiny_patch16_224",), img_size=32, embed_dim=64, depth=2, num_heads=2, num_classes=3
    )
    for block in network.blocks:
        block.attn.fused_attn = fused
    with GRADIENTS[gradients]():
        costs = Costs.of(network, IMAGE)
    s, d = 5, 64
    block = 2 * s * d * 3 * d + 2 * (2 * s * s * d) + 2 * s * d * d + 2 * (2 * s * d * 4 * d)
    patches, head = 2 * 4 * (3 * 16 * 16) * d, 2 * d * 3
    assert sum(layer.flops for layer in costs.layers) == patches + 2 * block + head


def test_counting_leaves_other_threads_their_kernels(monkeypatch):
    """Another kernel rounds differently: a count in one thread must not change a run in another."""
    seen = []
    entered = FlopCounterMode.__enter__

    def noting(self):
        seen.append((torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()))  # fmt: skip
        return entered(self)

    monkeypatch.setattr(FlopCounterMode, "__enter__", noting)
    Costs.of(Attending(False), torch.zeros(1, WIDTH, TOKENS, 1))
    assert seen == [(True, True)]


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
    assert costs.inside(["1"]) == pytest.approx(0.8)
    assert costs.backward(["3.weight"]) == pytest.approx(
        0.2
    )  # its weights; nothing in front needs a gradient
    assert costs.backward(["1.weight"]) == pytest.approx(0.2 + 0.8)
    assert costs.backward(["1.weight", "3.bias"]) == pytest.approx(0.2 + 0.8 + 0.2)


def test_a_meter_pays_once_for_what_is_kept():
    costs = Costs.of(
        nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2)), torch.zeros(1, 2, 2, 2)
    )
    meter = Meter(costs)
    for _ in range(2):
        meter.remember(["1"], 10)
    assert meter.passes == pytest.approx(10 * 0.8)
    meter.forward(5, ["1"])
    meter.forward(5)  # the whole network
    assert meter.passes == pytest.approx(8 + 1 + 5)
    nothing = Meter()
    nothing.backward(["2.weight"], 5)
    assert nothing.passes == 0
