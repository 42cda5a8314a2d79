"""Arrays, data sets and folders give the same labelled images; parts that are not given are drawn from the rest."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from toys import coloured

from surgicalft.own.arrays import to_labelled
from surgicalft.own.data import OwnData, read_data
from surgicalft.own.folders import class_names
from surgicalft.shifts.base import Labelled

IMAGES, LABELS = coloured(30, size=5)
CLASSES = ("ant", "bee", "cat")
ARRAY = IMAGES.numpy()
PICTURES = [(Image.fromarray(a.transpose(1, 2, 0)), int(k)) for a, k in zip(ARRAY, LABELS, strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES, LABELS),
        (ARRAY, LABELS.numpy().astype(np.int16)),
        (ARRAY.transpose(0, 2, 3, 1), LABELS.tolist()),
        (ARRAY / 255, LABELS),
        ((ARRAY / np.float32(255)).astype(np.float16), [*LABELS]),
        TensorDataset(IMAGES, LABELS),
        TensorDataset(IMAGES.float() / 255, LABELS),
        [(image, label) for image, label in zip(IMAGES, LABELS, strict=True)],
        PICTURES,
        Labelled(IMAGES, LABELS),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_form_gives_the_same_bytes(data):
    found = to_labelled(data, "train")
    assert found.images.dtype == torch.uint8 and torch.equal(found.images, IMAGES)
    assert found.labels.dtype == torch.int64 and torch.equal(found.labels, LABELS)


def test_layouts():
    grey = to_labelled((ARRAY[:, 0], LABELS), "train")
    assert torch.equal(grey.images, IMAGES[:, :1])
    cube = torch.arange(3 * 27, dtype=torch.uint8).view(3, 3, 3, 3)  # any axis may hold channels
    for layout, expected in {"nchw": cube, "nhwc": cube.permute(0, 3, 1, 2)}.items():
        found = to_labelled((cube, torch.arange(3)), "train", layout)
        assert torch.equal(found.images, expected)


def test_parts_are_drawn_by_class_disjoint_and_anew_for_each_seed():
    labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 5)
    images = torch.arange(35, dtype=torch.uint8)[:, None, None, None].expand(35, 3, 2, 2)
    data = OwnData(Labelled(images, labels), valid_share=0.2, test_share=0.1)
    seen = []
    for seed in (0, 1):
        splits = data.splits(seed)
        parts = {name: getattr(splits, name) for name in ("tune", "valid", "test")}
        counts = {name: part.labels.bincount().tolist() for name, part in parts.items()}
        # round(0.1 * 5) is 0, but one is drawn at least
        assert counts == {"tune": [14, 7, 3], "valid": [4, 2, 1], "test": [2, 1, 1]}
        numbers = {name: part.images[:, 0, 0, 0].tolist() for name, part in parts.items()}
        assert sorted(number for part in numbers.values() for number in part) == list(range(35))
        seen.append(numbers)
    assert seen[0] != seen[1]
    again = data.splits(0)
    assert again.test.images[:, 0, 0, 0].tolist() == seen[0]["test"]


def test_what_is_given_stays_and_what_is_not_is_drawn():
    train, test = Labelled(IMAGES, LABELS), Labelled(*coloured(9, seed=5, size=5))
    data = OwnData(train, test=test)
    one, other = data.splits(0), data.splits(1)
    assert one.test is other.test is test
    assert len(one.tune) == 24 and len(one.valid) == 6
    assert not torch.equal(one.valid.images, other.valid.images)
    whole = OwnData(train, test, test)
    assert whole.splits(0).tune is whole.splits(1).tune is train and not whole.drawn
    others = OwnData(train, test), OwnData(train, test=test, valid_share=0.3)
    assert len({found.fingerprint() for found in (data, whole, *others)}) == 4


def save(root):
    """Ten images of each class in `root`."""
    for i, (image, label) in enumerate(PICTURES):
        folder = root / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{i:02}.png")
    (root / ".hidden").mkdir()
    (folder / "notes.txt").write_text("left out")


def test_class_folders(tmp_path):
    save(tmp_path / "all")
    data = read_data(tmp_path / "all")
    assert data.classes == class_names(tmp_path / "all") == CLASSES
    order = LABELS.argsort(stable=True)  # class by class, in the order of the files
    assert torch.equal(data.train.labels, LABELS[order])
    assert torch.equal(data.train.images, IMAGES[order])
    assert set(data.drawn) == {"valid", "test"}
    assert read_data(str(tmp_path / "all"), size=3).train.images.shape == (30, 3, 3, 3)
    mixed = read_data(tmp_path / "all", None, (IMAGES, LABELS))
    assert torch.equal(mixed.test.images, IMAGES) and set(mixed.drawn) == {"valid"}


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_a_folder_of_parts(tmp_path, valid):
    for part in ("train", valid, "test"):
        save(tmp_path / part)
    data = read_data(tmp_path)
    assert class_names(tmp_path) == data.classes == CLASSES
    assert not data.drawn and set(data.given) == {"train", "valid", "test"}


def test_images_of_other_sizes_are_brought_to_the_networks(tmp_path):
    save(tmp_path)
    Image.new("RGB", (9, 7)).save(tmp_path / "ant" / "wide.png")
    assert read_data(tmp_path, usual_size=6).train.images.shape == (31, 3, 6, 6)
    (tmp_path / "ant" / "wide.png").unlink()  # all of one size: that is kept
    assert read_data(tmp_path, usual_size=6).train.images.shape == (30, 3, 5, 5)
