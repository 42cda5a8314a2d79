"""Names -> networks: what each gives, that the seed decides, and names that do not exist."""

import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.models.normalized import CLIP, IMAGENET


@pytest.mark.parametrize(
    ("name", "size", "scale", "parameters"),
    [
        ("resnet50", 224, IMAGENET, 23_522_375),
        ("clip-vit-tiny", 32, CLIP, 418_119),
        ("clip-vit-b-16", 224, CLIP, 86_196_231),
        ("rvt-small", 224, IMAGENET, 22_918_567),
        ("timm/vit_tiny_patch16_224", 224, ((0.5,) * 3, (0.5,) * 3), 5_525_767),
    ],
)
def test_size_scale_and_classes(name, size, scale, parameters):
    network = build(name, 7, seed=0).eval()
    assert network.size == size
    assert sum(value.numel() for value in network.parameters()) == parameters
    torch.testing.assert_close(network.normalize.mean.flatten(), torch.tensor(scale[0]))
    torch.testing.assert_close(network.normalize.std.flatten(), torch.tensor(scale[1]))
    with torch.no_grad():
        assert network(torch.rand(2, 3, 96, 96)).shape == (2, 7)


def test_large_towers():
    with torch.device("meta"):
        large, larger = (build(f"clip-vit-l-14{end}", 7, seed=0) for end in ("", "-336"))
    assert (large.size, larger.size) == (224, 336)
    positions = [n.network.visual.positional_embedding.shape[0] for n in (large, larger)]
    assert positions == [16**2 + 1, 24**2 + 1]


def test_resnet50_has_the_papers_blocks():
    network = build("resnet50", 7, seed=0)
    blocks = Blocks.of(network)
    assert blocks.names == ("block 1", "block 2", "block 3", "block 4", "last")
    for parameter in ("conv1.weight", "bn1.bias", "layer1.2.conv3.weight"):
        assert blocks.block_of(f"network.{parameter}") == "block 1"
    assert blocks.parameters("last") == ("network.fc.weight", "network.fc.bias")


def test_variants_of_clip():
    quick, exact = (build(f"clip-vit-tiny{end}", 7, 0).network for end in ("", "-gelu-grouped"))
    assert type(quick.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert isinstance(exact.visual.transformer.resblocks[0].mlp.gelu, torch.nn.GELU)
    assert "first layers" in Blocks.of(exact) and "embedding" in Blocks.of(quick)
    grouped = build("clip-vit-tiny-grouped", 7, 0).network
    assert all(map(torch.equal, quick.parameters(), grouped.parameters()))  # other names only


@pytest.mark.parametrize("name", ["clip-vit-tiny", "timm/resnet10t", "resnet8-gn"])
def test_the_seed_decides_and_the_global_state_stays(name):
    before = torch.get_rng_state()
    first, again, other = (build(name, 7, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not all(map(torch.equal, first.parameters(), other.parameters()))


@pytest.mark.parametrize(
    "name", ["vgg16", "clip-vit-b-32", "clip-vit-b-16-grouped-gelu", "resnet26", "rvt-base", ""]
)
def test_unknown_names_get_the_legal_forms(name):
    with pytest.raises(ValueError, match=r"unknown network .*resnet50, clip-vit-<b-16.*rvt-small"):
        build(name, 10, seed=0)


def test_unknown_names_of_timm_get_similar_ones():
    with pytest.raises(
        ValueError, match=r"timm has no model 'resnet51'; similar: \['resnet51q', 'resnet50'"
    ):
        build("timm/resnet51", 10, seed=0)


@pytest.mark.parametrize("wrong", ["resnet25-bn", "resnet2-bn"])
def test_depths_that_do_not_exist(wrong):
    with pytest.raises(ValueError, match=r"6N\+2"):
        build(wrong, 10, seed=0)
