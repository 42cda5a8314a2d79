"""RVT*-small: the published size, the authors' parameter names, and its parts against slow references."""

import pytest
import torch
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.models.rvt import RVT, Attention, ConvFeedForward


def small():
    torch.manual_seed(0)
    network = RVT(5, size=32, width=32, depth=4, heads=2, scaled=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def test_published_size_and_output_shape():
    """23.3 M, as in the paper's table of results; the authors' code gives 23,300,872."""
    network = RVT().eval()
    assert sum(p.numel() for p in network.parameters()) == 23_300_872
    with torch.no_grad():
        assert network(torch.rand(2, 3, 224, 224)).shape == (2, 1000)


def test_parameter_names_are_the_authors():
    """Those of `rvt_small_plus` in their robust_models.py."""
    block = "transformers.0.blocks.{}."
    layers = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.bn1", "mlp.dwconv"]
    layers += ["mlp.bn2", "mlp.fc2", "mlp.bn3"]
    owners = [f"patch_embed.proj.{i}" for i in (0, 1, 3)] + ["norm", "head"]
    owners += [block.format(i) + layer for i in range(12) for layer in layers]
    expected = {f"{owner}.{kind}" for owner in owners for kind in ("weight", "bias")}
    expected |= {block.format(i) + "attn.att_mask" for i in range(5)}
    assert {name for name, _ in RVT().named_parameters()} == expected


@pytest.mark.parametrize("positions", [4, None], ids=["scaled", "plain"])
def test_attention_by_loops(positions):
    torch.manual_seed(1)
    layer, x = Attention(6, 2, positions), torch.randn(3, 4, 6)
    if positions:
        nn.init.normal_(layer.att_mask)
    mixed = torch.zeros(3, 4, 6)
    qkv = layer.qkv(x)
    for image in range(3):
        for head in range(2):
            q, k, v = (qkv[image, :, 6 * part + 3 * head :][:, :3] for part in range(3))
            for i in range(4):
                scores = torch.stack([q[i] @ k[j] / 3**0.5 for j in range(4)])
                if positions:
                    scores = scores * torch.sigmoid(layer.att_mask[head, i])
                mixed[image, i, 3 * head : 3 * head + 3] = scores.softmax(0) @ v
    torch.testing.assert_close(layer(x), layer.proj(mixed))


def test_the_feed_forward_part_mixes_neighbours_only():
    layer = ConvFeedForward(4, 8, grid=5).eval()
    x = torch.randn(1, 25, 4)
    changed = x.clone()
    changed[0, 12] += 1  # the middle of the grid
    moved = (layer(changed) - layer(x)).abs().sum(-1).view(5, 5) > 1e-6
    assert moved[1:4, 1:4].all() and moved.sum() == 9


def test_the_batch_does_not_matter():
    network, images = small(), torch.rand(3, 3, 32, 32)
    whole, single = network(images), torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-4)


def test_size_must_be_a_multiple_of_the_patch():
    with pytest.raises(ValueError, match="multiple of 16, not 40"):
        RVT(size=40)


def test_blocks_and_tensor_lists():
    blocks = Blocks.of(RVT())
    assert blocks.names == ("embedding", *(f"block {i}" for i in range(1, 13)), "last")
    assert blocks.block_of("patch_embed.proj.1.weight") == "embedding"
    assert blocks.block_of("transformers.0.blocks.0.attn.att_mask") == "block 1"
    assert blocks.block_of("transformers.0.blocks.10.norm1.weight") == "block 11"
    assert blocks.block_of("norm.weight") == "block 12"
    first = tuple(f"transformers.0.blocks.0.mlp.fc1.{kind}" for kind in ("weight", "bias"))
    stem = tuple(f"patch_embed.proj.0.{kind}" for kind in ("weight", "bias"))
    assert blocks.select("first_layer").parameters == first
    assert blocks.select("first_2_layers").parameters == (*stem, *first)
