"""Source models: they learn, the best epoch is kept, and they are trained once per settings and data."""

import json

import pytest
import torch

from surgicalft.evaluate import accuracy
from surgicalft.models import pretrain
from surgicalft.models.pretrain import Pretrain, augment, pretrained
from surgicalft.shifts.base import Labelled, Source, register_source

SETTINGS = Pretrain("stripes", "resnet8-bn-w8", epochs=3, batch_size=20, augment="none")


def stripes(n, seed):
    """Ten classes that the first convolution can tell: one bright row each."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 10
    images = torch.randint(0, 60, (n, 3, 32, 32), generator=random, dtype=torch.uint8)
    images[torch.arange(n), :, 3 * labels + 1] = 250
    return Labelled(images, labels)


@pytest.fixture(autouse=True)
def source(monkeypatch, tmp_path):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path))
    parts = {"train": stripes(200, 0), "valid": stripes(50, 1), "test": stripes(50, 2)}
    data = dict(parts)
    register_source("stripes", lambda folder: Source(**data, classes=10, provenance="made"))
    return data


def test_it_learns_and_reports_what_it_did(source):
    model = pretrained(SETTINGS, progress=False)
    assert accuracy(model.network, source["test"]) == model.info["test_accuracy"] > 50
    best = max(epoch["valid_accuracy"] for epoch in model.info["history"])
    assert accuracy(model.network, source["valid"]) == pytest.approx(best)
    assert model.info["settings"]["epochs"] == 3 and len(model.info["history"]) == 3


def test_cached_by_settings_and_data(source, monkeypatch):
    first = pretrained(SETTINGS, progress=False)
    calls = []
    real = pretrain.train
    monkeypatch.setattr(pretrain, "train", lambda *args: calls.append(1) or real(*args))
    again = pretrained(SETTINGS, progress=False)
    assert not calls and again.info == json.loads(json.dumps(first.info))
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    source["train"] = stripes(200, 9)
    pretrained(SETTINGS, progress=False)
    pretrained(Pretrain(**{**SETTINGS.__dict__, "seed": 1}), progress=False)
    assert len(calls) == 2


def test_same_settings_same_weights(tmp_path, monkeypatch):
    weights = []
    for folder in ("a", "b"):
        monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / folder))
        weights.append(pretrained(SETTINGS, progress=False).network.conv1.weight)
    assert torch.equal(*weights)


def test_augmentation_moves_and_mirrors():
    images = torch.arange(32 * 32, dtype=torch.int64).view(1, 1, 32, 32) % 251
    images = images.to(torch.uint8).expand(64, 3, 32, 32).contiguous()
    random = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, "none", random), images)
    cropped = augment(images, "crop", random)
    assert cropped.shape == images.shape and cropped.dtype == torch.uint8
    padded = torch.nn.functional.pad(images[:1].float(), (4,) * 4, mode="reflect").to(torch.uint8)
    windows = padded[0, 0].unfold(0, 32, 1).unfold(1, 32, 1).reshape(81, 32, 32)
    assert all((windows == image[0]).all((1, 2)).any() for image in cropped)
    both = augment(images, "crop-flip", random)
    plain = [(windows == image[0]).all((1, 2)).any() for image in both]
    mirrored = [(windows == image[0].flip(1)).all((1, 2)).any() for image in both]
    assert all(p or m for p, m in zip(plain, mirrored, strict=True))
    assert 16 < sum(bool(m) for m in mirrored) < 48


@pytest.mark.parametrize(
    "wrong", [{"augment": "mixup"}, {"precision": "int8"}], ids=["augment", "precision"]
)
def test_unknown_choices(wrong):
    with pytest.raises(ValueError, match="must be one of"):
        Pretrain("stripes", **wrong)


def test_unknown_source():
    with pytest.raises(ValueError, match=r"unknown source 'nothing'; legal: .*glyphs"):
        pretrained(Pretrain("nothing"))
