"""The training loop: phases, resumption after a kill, batches made ahead."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from surgicalft.models.networks import build
from surgicalft.models.recipe import Pretrain
from surgicalft.models.train import train
from surgicalft.shifts.base import Labelled, Source
from surgicalft.shifts.image_files import Fit, ImageFiles

SETTINGS = Pretrain("made", "resnet8-gn-w8", epochs=4, batch_size=16, learning_rate=0.05)
HERE = Path(__file__)


def source(n=60):
    labels = torch.arange(n) % 3
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 80, (n, 3, 32, 32), generator=random, dtype=torch.uint8)
    images[torch.arange(n), labels] += 120
    data = Labelled(images, labels)
    return Source(data, data.take(torch.arange(30)), data.take(torch.arange(30)), 3, "made")


def trained(settings, **more):
    network = build(settings.model, 3, seed=0)
    info = train(network, source(), settings, progress=False, **more)
    return network, info


def same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_the_head_learns_first_and_alone():
    before = build(SETTINGS.model, 3, seed=0)
    head = replace(SETTINGS, head_epochs=4, optimizer="adam", schedule="constant")
    only, _ = trained(replace(head, learning_rate=1e-3))
    changed = {
        name
        for name, value in before.state_dict().items()
        if not torch.equal(value, only.state_dict()[name])
    }
    assert changed == {"fc.weight", "fc.bias"}
    assert all(parameter.requires_grad for parameter in only.parameters())
    both, info = trained(replace(head, head_epochs=2, learning_rate=1e-3))
    assert len(info["history"]) == 4
    assert not torch.equal(both.conv1.weight, before.conv1.weight)


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, optimizer="adam", schedule="constant", learning_rate=1e-3),
        replace(SETTINGS, optimizer="adamw", schedule="cosine", head_epochs=2, learning_rate=1e-3),
    ],
    ids=["sgd", "adam", "lp-ft"],
)
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_going_on_after_a_stop_is_as_if_there_was_none(
    settings, killed_after, tmp_path, monkeypatch
):
    straight, info = trained(settings)
    file = tmp_path / "resume"

    class Stop(Exception):
        pass

    from surgicalft.models.train import Progress

    write = Progress.write

    def write_then_stop(self, path):
        write(self, path)
        if self.epochs == killed_after:
            raise Stop

    monkeypatch.setattr(Progress, "write", write_then_stop)
    with pytest.raises(Stop):
        trained(settings, resume=file)
    monkeypatch.undo()
    resumed, again = trained(settings, resume=file)
    assert same(straight, resumed)
    assert again["history"] == info["history"] and len(again["history"]) == settings.epochs


def test_a_real_kill(tmp_path):
    """SIGKILL in the middle of the third epoch; the file left behind is whole and holds two."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(HERE.parent)!r})
import test_train, surgicalft.models.train as module
real, calls = module._epoch, []
def epoch(*arguments):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
module._epoch = epoch
test_train.trained(test_train.SETTINGS, resume=__import__("pathlib").Path({str(tmp_path / "r")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed, info = trained(SETTINGS, resume=tmp_path / "r")
    assert len(info["history"]) == 4
    assert same(resumed, trained(SETTINGS)[0])


def test_a_damaged_file_is_said_and_not_used(tmp_path):
    file = tmp_path / "resume"
    trained(SETTINGS, resume=file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="is damaged, training starts anew"):
        network, info = trained(SETTINGS, resume=file)
    assert len(info["history"]) == 4 and same(network, trained(SETTINGS)[0])


def test_batches_made_ahead_change_nothing():
    plain, info = trained(SETTINGS)
    ahead, other = trained(SETTINGS, workers=3)
    assert same(plain, ahead) and info["history"] == other["history"]


def test_images_in_files_train_the_same_network(tmp_path):
    data = source()
    files = [tmp_path / f"{i:03}.png" for i in range(len(data.train))]
    for file, image in zip(files, data.train.images, strict=True):
        Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(file)
    lazy = replace(data, train=Labelled(ImageFiles(files, Fit(32)), data.train.labels))
    network = build(SETTINGS.model, 3, seed=0)
    train(network, lazy, SETTINGS, progress=False, workers=2)
    assert same(network, trained(SETTINGS)[0])


def test_nothing_to_learn_from():
    empty = replace(source(), train=source().train.take(torch.arange(0)))
    with pytest.raises(ValueError, match="source 'made' has no training images: made"):
        train(build(SETTINGS.model, 3, seed=0), empty, SETTINGS, progress=False)


def test_divergence_is_an_error():
    with pytest.raises(RuntimeError, match=r"diverged in epoch \d: loss (nan|inf)"):
        trained(replace(SETTINGS, learning_rate=1e12, schedule="constant"))
