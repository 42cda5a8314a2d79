"""Published models from local files, and errors that say where to get them."""

import pytest
import torch
import torchvision

from surgicalft.blocks import Blocks
from surgicalft.models import zoo
from surgicalft.models.checkpoints import CheckpointError
from surgicalft.models.recipe import Pretrain
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.models.rvt import RVT
from surgicalft.shifts.base import Labelled, Source, register_source


def test_published_checkpoint_from_a_local_file(tmp_path):
    saved = ResNetCifar(26, norm="group")
    torch.save({"net": saved.state_dict()}, tmp_path / "memo-cifar10-rn26-gn.pth")
    loaded = zoo.load_published("memo-resnet26-gn", tmp_path)
    assert torch.equal(loaded.conv1.weight, saved.conv1.weight) and not loaded.training


def test_absent_checkpoint_says_what_where_and_whence(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"memo-cifar10-rn26-gn\.pth.*github\.com/zhangmarvin/memo"
    ):
        zoo.load_published("memo-resnet26-gn", tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "make"),
    [
        ("resnet50-imagenet", "resnet50-0676ba61.pth", torchvision.models.resnet50),
        ("rvt-small-imagenet", "weights/rvt_small_plus.pth", RVT),
    ],
)
def test_networks_of_imagenet_from_their_publishers_files(tmp_path, name, file, make):
    saved = make().eval()
    state = saved.state_dict()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    torch.save({"model": state} if "rvt" in name else state, path)
    loaded = zoo.load_published(name, tmp_path)
    assert not loaded.training and loaded.size == 224
    found = loaded.network.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[parameter], state[parameter]) for parameter in state)
    path.write_bytes(path.read_bytes()[: 10**6])
    with pytest.raises(CheckpointError, match="truncated"):
        zoo.load_published(name, tmp_path)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"unknown published model 'vgg'; legal: memo-resnet26-gn"):
        zoo.load_published("vgg")


def test_standard_wide_resnet_from_robustbenchs_own_layout(tmp_path):
    """Random weights in the place and form in which robustbench keeps its file."""
    pytest.importorskip("pyautoattack", reason="needs the extra robustbench")
    saved = zoo.PUBLISHED["robustbench-standard"].build()
    assert sum(value.numel() for value in saved.parameters()) == 36_479_194
    path = tmp_path / "cifar10" / "corruptions" / "Standard.pt"
    path.parent.mkdir(parents=True)
    torch.save(saved.state_dict(), path)
    loaded = zoo.load_published("robustbench-standard", tmp_path)
    assert torch.equal(loaded.fc.weight, saved.fc.weight) and not loaded.training
    blocks = Blocks.of(loaded)
    assert blocks.names == ("block 1", "block 2", "block 3", "last")
    assert blocks.block_of("bn1.weight") == "block 3"
    path.write_bytes(path.read_bytes()[: 10**6])
    with pytest.raises(CheckpointError, match=r"Standard\.pt: truncated"):
        zoo.load_published("robustbench-standard", tmp_path)


def test_an_unreachable_publisher_is_named(tmp_path, monkeypatch):
    pytest.importorskip("pyautoattack", reason="needs the extra robustbench")
    from surgicalft.compat import import_robustbench

    import_robustbench()
    import robustbench.utils

    def unreachable(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(robustbench.utils, "load_model", unreachable)
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"Standard\.pt could not be downloaded.*robustbench"
    ):
        zoo.load_published("robustbench-standard", tmp_path)


def test_the_same_weights_under_other_blocks(monkeypatch, tmp_path):
    """One training serves the transformer with and without its blocks grouped."""
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path))
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
    few = Labelled(images, torch.arange(12) % 3)
    register_source("few", lambda folder: Source(few, few, few, 3, "made"))
    recipe = Pretrain("few", "clip-vit-tiny", epochs=1, optimizer="adamw", learning_rate=1e-3)
    plain = zoo.load_network("clip-vit-tiny", recipe, progress=False)
    grouped = zoo.load_network("clip-vit-tiny-grouped", recipe, progress=False)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert len(Blocks.of(plain)) == 10 and len(Blocks.of(grouped)) == 6
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(plain(x), grouped(x))
