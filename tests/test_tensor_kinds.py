"""Tensors of normalisation layers, and biases."""

import timm
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.tensor_kinds import bias_tensors, norm_tensors


def test_of_a_residual_network():
    network = build("resnet8-gn", 10, 0)
    norms = norm_tensors(network)
    assert len(norms) == 2 * 7 and {"bn.weight", "layer1.0.bn1.bias"} <= set(norms)
    assert set(bias_tensors(network)) == {n for n in norms if n.endswith("bias")} | {"fc.bias"}


def test_of_transformers():
    for network in (build("clip-vit-tiny", 10, 0), timm.create_model("vit_tiny_patch16_224")):
        names = {name for name, _ in network.named_parameters()}
        norms = norm_tensors(network)
        assert norms and all("norm" in name or "ln_" in name for name in norms)
        assert set(bias_tensors(network)) == {n for n in names if n.endswith("bias")}


def test_a_wrapper_called_norm_is_not_one():
    class PreNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.inner = nn.LayerNorm(4), nn.Linear(4, 4)

    assert norm_tensors(nn.Sequential(PreNorm())) == ("0.norm.weight", "0.norm.bias")


def test_they_can_be_selected_where_there_are_some():
    blocks = Blocks.of(build("resnet8-bn", 10, 0))
    assert blocks.select("norms").parameters == norm_tensors(build("resnet8-bn", 10, 0))
    assert blocks.select("biases").name == "biases"
    plain = Blocks.of(
        nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2)), {"a": "0", "b": "1"}
    )
    assert dict(plain.tensor_lists) == {"biases": ("1.bias",)}
