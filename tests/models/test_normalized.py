"""Images in [0, 1] of any size reach the inner network scaled, and its blocks show through."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.models.normalized import Normalized
from surgicalft.models.resnet_cifar import ResNetCifar

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def images(size):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_scales_each_channel():
    network = Normalized(nn.Identity(), MEAN, STD)
    out = network(images(7))
    assert out.shape == (2, 3, 7, 7)
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        torch.testing.assert_close(out[:, channel], (images(7)[:, channel] - mean) / std)


@pytest.mark.parametrize("size", [8, 32, 96])
def test_resizes_where_the_size_differs(size):
    out = Normalized(nn.Identity(), (0, 0, 0), (1, 1, 1), 32)(images(size))
    expected = F.interpolate(images(size), (32, 32), mode="bilinear", antialias=True)
    assert out.shape == (2, 3, 32, 32)
    torch.testing.assert_close(out, images(32) if size == 32 else expected)


def test_a_shrunk_pattern_of_stripes_is_averaged():
    """Without antialiasing every fourth column would be taken, all of them white."""
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., 1::4] = stripes[..., 2::4] = 1
    out = Normalized(nn.Identity(), (0, 0, 0), (1, 1, 1), 16)(stripes)
    assert (out[..., 2:-2] - 0.5).abs().max() < 0.1


@pytest.mark.parametrize("inner", [ResNetCifar(8, (8, 8, 8)), timm.create_model("resnet18")])
def test_blocks_are_the_inner_networks(inner):
    outer, blocks = Blocks.of(Normalized(inner, MEAN, STD)), Blocks.of(inner)
    assert outer.names == blocks.names
    for name in blocks:
        expected = tuple(f"network.{parameter}" for parameter in blocks.parameters(name))
        assert outer.parameters(name) == expected


def test_tensor_lists_are_the_inner_networks():
    blocks = Blocks.of(Normalized(ResNetCifar(8, (8, 8, 8)), MEAN, STD))
    assert blocks.select("first_layer").parameters == ("network.conv1.weight",)


def test_names_with_characters_of_regular_expressions():
    inner = nn.ModuleDict({"a": nn.Linear(1, 1), "a+": nn.Linear(1, 1)})
    inner.block_patterns = lambda: {"one": r"a\.", "two": r"a\+\."}
    blocks = Blocks.of(Normalized(inner, MEAN, STD))
    assert blocks.parameters("two") == ("network.a+.weight", "network.a+.bias")


def test_a_copy_is_independent():
    network = Normalized(ResNetCifar(8, (8, 8, 8)), MEAN, STD, 32).eval()
    before, copied = network(images(40)), copy.deepcopy(network)
    torch.testing.assert_close(copied(images(40)), before)
    nn.init.zeros_(network.network.fc.weight)
    torch.testing.assert_close(copied(images(40)), before)
    assert Blocks.of(copied) == Blocks.of(network)


def test_the_scale_that_a_network_states():
    network = timm.create_model("vit_tiny_patch16_224", num_classes=2)
    found = Normalized.of(network)
    assert found.normalize.mean.flatten().tolist() == list(network.pretrained_cfg["mean"])
    assert found.normalize.std.flatten().tolist() == list(network.pretrained_cfg["std"])
    with pytest.raises(ValueError, match="Linear states no mean and std"):
        Normalized.of(nn.Linear(1, 1))
