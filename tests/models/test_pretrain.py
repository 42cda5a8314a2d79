"""Source models: they learn, the best epoch is kept, and they are trained once per settings and data."""

import json

import pytest
import torch

from surgicalft.evaluate import accuracy
from surgicalft.models import pretrain
from surgicalft.models.pretrain import pretrained
from surgicalft.models.recipe import Pretrain
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


def test_unknown_source():
    with pytest.raises(ValueError, match=r"unknown source 'nothing'; legal: .*glyphs"):
        pretrained(Pretrain("nothing"))
