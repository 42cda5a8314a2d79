"""Arrays, data sets and folders give the same labelled images; parts that are not given are drawn from the rest."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset
from toys import Toy, coloured

from surgicalft.own import which_block
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
        (ARRAY.astype(np.uint16) * 257, LABELS),
        ((ARRAY.astype(np.uint16) * 257).astype(">u2"), LABELS),
        (ARRAY.astype(np.int64) * 257, LABELS),
        (torch.from_numpy(ARRAY.astype(np.uint16) * 257), LABELS),
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


def test_pictures_in_a_data_set_are_converted_as_files_are(tmp_path):
    """Upright, scaled by their type, and on white."""
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    made = {
        "a0.png": Image.fromarray(ramp),
        "a1.png": Image.fromarray(ramp.astype(np.uint16) * 257),
        "a2.tif": Image.fromarray(ramp.astype(np.float32) / 255),
        "b0.png": Image.fromarray(np.stack([ramp] * 4, -1), "RGBA"),
        "b1.png": Image.fromarray(ramp > 100),
        "b2.png": Image.fromarray(ramp).convert("LA"),
    }
    for name, image in made.items():
        (tmp_path / name[0]).mkdir(exist_ok=True)
        image.save(tmp_path / name[0] / name, exif=exif)
    files = [tmp_path / name[0] / name for name in made]
    found = to_labelled([(Image.open(file), i) for i, file in enumerate(files)], "train").images
    assert torch.equal(found, read_data(tmp_path, size=4).train.images)
    turned = torch.from_numpy(np.rot90(ramp, -1).copy())
    for i in (0, 1, 2, 5):
        assert torch.equal(found[i], turned.expand(3, 4, 4)), files[i]
    assert (found[3, :, 0, 3] == 255).all()  # alpha 0


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    file = tmp_path / "cut.png"
    Image.fromarray(ARRAY[0].transpose(1, 2, 0)).save(file)
    file.write_bytes(file.read_bytes()[:50])
    with (
        Image.open(file) as cut,
        pytest.raises(ValueError, match=r"train\[1\] cannot be read: OSError"),
    ):
        to_labelled([PICTURES[0], (cut, 1)], "train")


@pytest.mark.parametrize("channels", [1, 4])
def test_a_network_of_one_or_four_channels(channels):
    """All channels count: the class is in the last one."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 100, (60, channels, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1, -1] += 150
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4), nn.Linear(4, 2))  # fmt: skip
    forms = [images, images.transpose(0, 2, 3, 1), images / 255]
    forms += [images[:, 0]] if channels == 1 else []
    expected = torch.from_numpy(images)
    for form in forms:
        assert torch.equal(read_data((form, labels)).train.images, expected)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net[2].reset_parameters(), net[3].reset_parameters()
    quick = {"patterns": {"body": "2", "last": "3"}, "rates": [1e-1], "epochs": 20, "seeds": 1}
    found = which_block(net, (forms[-1], labels), **quick, selections=["body"], progress=False)
    assert found.table.set_index("selection")["test_accuracy"]["body"] == 100
    with pytest.raises(
        ValueError, match=rf"Toy does not take images of shape \({channels}, 8, 8\)"
    ):
        which_block(Toy(2), (images, labels), **{**quick, "patterns": None})


def test_layouts():
    grey = to_labelled((ARRAY[:, 0], LABELS), "train")
    assert torch.equal(grey.images, IMAGES[:, :1])
    with pytest.raises(ValueError, match=r"\(3, 4, 4, 4\): say which axis holds the channels"):
        to_labelled((torch.zeros(3, 4, 4, 4), LABELS[:3]), "train")
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
