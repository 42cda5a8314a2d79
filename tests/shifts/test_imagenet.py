"""The ImageNet folder on fixtures of a thousand classes with few images, and what is refused."""

import os

import pytest
import torch
from PIL import Image
from timm.data import ImageNetInfo
from torchvision.datasets import ImageFolder

from surgicalft.shifts import load_source
from surgicalft.shifts.catalogue import get_data_set
from surgicalft.shifts.image_files import Fit, UnreadableImages
from surgicalft.shifts.imagenet import PER_CLASS, TOTAL, check, check_headers, imagenet_split

IDS = ImageNetInfo("imagenet-1k").label_names()


def make_split(folder, ids, count, size=(50, 40)):
    """`count` images for each id, in the publisher's layout; a few pictures under many names."""
    folder.mkdir(parents=True)
    for tint in range(8):
        Image.new("RGB", size, (30 * tint, 100, 200)).save(folder / f"{tint}.JPEG")
    for k, name in enumerate(ids):
        (folder / name).mkdir()
        for i in range(count):
            os.link(folder / f"{(k + i) % 8}.JPEG", folder / name / f"{name}_{i:03}.JPEG")


@pytest.fixture
def val(tmp_path, monkeypatch):
    monkeypatch.setitem(PER_CLASS, "val", (2, 2))
    monkeypatch.setitem(TOTAL, "val", 2000)
    make_split(tmp_path / "imagenet" / "val", IDS, 2)
    return tmp_path / "imagenet" / "val"


def test_validation_images_are_enough(val):
    source = load_source("imagenet", val.parent.parent)
    assert [len(part) for part in (source.train, source.valid, source.test)] == [0, 0, 2000]
    assert source.classes == 1000 and "validation images alone" in source.provenance
    theirs = ImageFolder(str(val)).samples  # torchvision reads the same layout
    assert [str(file) for file in source.test.images.files] == [file for file, _ in theirs]
    assert source.test.labels.tolist() == [k for _, k in theirs]
    assert source.test.images[torch.tensor([0, 1999])].shape == (2, 3, 224, 224)
    assert source.test.images.fit == Fit(224, resize=256)


@pytest.mark.parametrize("place", ["ILSVRC2012", "ILSVRC/Data/CLS-LOC"])
def test_other_places(val, place):
    root = val.parent.parent
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    val.parent.rename(root / place)
    assert imagenet_split(root, "val") == root / place / "val"
    assert get_data_set("imagenet").found(root) == root / place


def test_a_tenth_of_each_class_is_held_out(val, monkeypatch):
    monkeypatch.setitem(PER_CLASS, "train", (10, 12))
    make_split(val.parent / "train", IDS, 10)
    extra = val.parent / "train" / IDS[0]
    os.link(extra / f"{IDS[0]}_000.JPEG", extra / "more.JPEG")
    source = load_source("imagenet", val.parent.parent)
    assert source.valid.labels.bincount().tolist() == [1] * 1000
    assert source.train.labels.bincount().tolist() == [10] + [9] * 999
    rows = torch.cat([source.train.images.index, source.valid.images.index])
    assert rows.sort().values.tolist() == list(range(10_001))


def test_absent_or_without_its_validation_images(tmp_path, monkeypatch):
    monkeypatch.delenv("SURGICALFT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"no imagenet/, .* in any data folder.*image-net"):
        load_source("imagenet")
    with pytest.raises(FileNotFoundError, match=r"ILSVRC/Data/CLS-LOC/ in .*image-net\.org"):
        load_source("imagenet", tmp_path)
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"imagenet has no val/.*imagenet/val/<WordNet id>"):
        load_source("imagenet", tmp_path)


def test_the_wrong_number_of_classes_or_other_classes(val):
    root = val.parent.parent
    (val / IDS[5]).rename(val / "n99999999")
    with pytest.raises(ValueError, match=r"1000 class folders of .*val are not those of ILSVRC"):
        load_source("imagenet", root)
    (val / "n99999999").rename(val / "elsewhere")
    with pytest.raises(ValueError, match=r"val has 999 class folders .*, expected 1000"):
        load_source("imagenet", root)


def test_too_few_images_of_some_classes(val):
    for name in IDS[3:10]:
        (val / name / f"{name}_001.JPEG").unlink()
    message = (
        rf"7 classes do not have 2 \.JPEG images: {IDS[3]} has 1, .* and 2 more; .* incomplete"
    )
    with pytest.raises(ValueError, match=message):
        load_source("imagenet", val.parent.parent)


def test_a_train_folder_without_images(val):
    (val.parent / "train").mkdir()
    with pytest.raises(ValueError, match="train has 0 class folders"):
        load_source("imagenet", val.parent.parent)


def test_an_unreadable_image_is_named_when_it_is_read(val):
    file = val / IDS[1] / f"{IDS[1]}_000.JPEG"
    file.unlink()
    file.write_bytes(b"no image")
    images = load_source("imagenet", val.parent.parent).test.images
    with pytest.raises(UnreadableImages, match=rf"1 of 3 images .*{IDS[1]}_000\.JPEG"):
        images[torch.tensor([0, 2, 4])]


def test_check(val, monkeypatch):
    root = val.parent.parent
    facts = get_data_set("imagenet").check(root)
    assert facts[0] == "val: 1000 classes, 2000 images; 50 images opened"
    assert facts[1].startswith("no train/")
    monkeypatch.setitem(TOTAL, "val", 50_000)
    with pytest.raises(ValueError, match="2000 images, expected 50000"):
        check(root)


def test_headers_that_are_wrong(val):
    files = sorted((val / IDS[0]).iterdir())
    assert check_headers(files) == "2 images opened"
    with pytest.raises(UnreadableImages, match="50 x 40 pixels, expected 224 x 224"):
        check_headers(files, 224)
    (val / "0.JPEG").write_bytes(b"")  # the same file as the first, by another name
    with pytest.raises(UnreadableImages, match="cannot identify"):
        check_headers(files)
