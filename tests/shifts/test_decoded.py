"""Decoded once: the same images, in memory or memory-mapped, also after a kill."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from surgicalft.shifts import decoded
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.decoded import keep
from surgicalft.shifts.image_files import Fit, ImageFiles, MappedImages, UnreadableImages

COUNT = 25


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "CHUNK", 4)
    random = np.random.default_rng(0)
    files = [tmp_path / f"{i:02}.png" for i in range(COUNT)]
    for file in files:
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(file)
    return Labelled(ImageFiles(files, Fit(16)), torch.arange(COUNT) % 5)


@pytest.mark.parametrize("memory", [2**20, 0])
def test_the_same_images(data, memory):
    kept = keep(data, memory=memory)
    assert isinstance(kept.images, MappedImages) == (memory == 0)
    assert torch.equal(kept.images[:], data.images[:]) and torch.equal(kept.labels, data.labels)
    index = torch.tensor([20, 3, 11])
    some = keep(data.take(index), memory=memory)
    assert torch.equal(some.images[:], data.images[index])
    assert keep(some, memory=memory) is some


def test_decoded_once_for_all_views(data, monkeypatch):
    keep(data, memory=0)
    monkeypatch.setattr(ImageFiles, "read_all", lambda *_: pytest.fail("decoded again"))
    view = keep(data.take(torch.tensor([4, 2])), memory=0)
    assert view.images[:].shape == (2, 3, 16, 16)


def test_a_killed_decoding_goes_on_where_it_stopped(data, monkeypatch):
    whole, read, rows = data.images[:], ImageFiles.read_all, []

    def until_the_kill(self, index):
        if len(rows) == 3:
            raise KeyboardInterrupt
        rows.append(index.tolist())
        return read(self, index)

    monkeypatch.setattr(ImageFiles, "read_all", until_the_kill)
    with pytest.raises(KeyboardInterrupt):
        keep(data, memory=0)
    monkeypatch.setattr(ImageFiles, "read_all", lambda *a: rows.append(a[1].tolist()) or read(*a))
    kept = keep(data, memory=0)
    assert [row for chunk in rows for row in chunk] == list(range(COUNT))
    assert torch.equal(kept.images[:], whole)
    assert not list(data.images.files[0].parent.rglob("*partial*"))


@pytest.mark.parametrize("memory", [2**20, 0])
def test_unreadable_images(data, memory):
    bad = data.images.files[6]
    good = data.take(torch.tensor([i for i in range(COUNT) if i != 6])).images[:]
    bad.write_bytes(b"?")
    with pytest.raises(UnreadableImages, match=r"1 of 25 images cannot be read: .*06\.png"):
        keep(data, memory=memory)
    with pytest.warns(UserWarning, match=r"skipped: 1 of 25 images .*06\.png"):
        kept = keep(data, "skip", memory=memory)
    assert len(kept) == len(kept.labels) == COUNT - 1
    assert torch.equal(kept.images[:], good) and kept.labels[6] == 7 % 5
    with warnings.catch_warnings():  # a view without the bad image needs no warning
        warnings.simplefilter("error")
        assert len(keep(data.take(torch.arange(5)), memory=memory)) == 5


def test_a_disk_without_room(data, monkeypatch):
    free = decoded.shutil._ntuple_diskusage(1, 1, 1000)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: free)
    with pytest.raises(OSError, match=r"25 decoded images need .* SURGICALFT_CACHE"):
        keep(data, memory=0)


def test_unknown_policy(data):
    with pytest.raises(ValueError, match=r"unreadable must be one of .*'skip'.*, not 'ignore'"):
        keep(data, "ignore")


def test_notes_tell_what_was_found(data, tmp_path):
    keep(data, memory=0)
    (notes,) = (tmp_path / "cache" / "decoded").glob("*.json")
    assert json.loads(notes.read_text()) == {"done": COUNT, "unreadable": {}}
