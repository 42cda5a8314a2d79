"""Folders as people have them: parts are found, classes are ordered, and what is neither is refused or named."""

import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from toys import Toy

from surgicalft.own import which_block
from surgicalft.own.data import read_data
from surgicalft.own.folders import STEM, STORE, class_names, find_splits, read_folders
from surgicalft.shifts.image_files import UnreadableImages


def draw(path, value=0, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)
    return path


def classes(root, names="ab", count=3):
    """`root` with so many images for each class, of brightness 10, 20, ... by class."""
    for k, name in enumerate(names):
        for i in range(count):
            draw(root / name / f"{i}.png", 10 * (k + 1))
    return root


def parts(root, *names):
    for name in names:
        classes(root / name)
    return root


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("training", "validation", "testing"),
        ("train", "dev", "test"),
        ("Training", "Eval", "Testing"),
        ("train2017", "val2017", "test2017"),
        ("training_set", "valid_set", "test_set"),
        ("train_images", "development", "test1"),
    ],
)
def test_spellings_of_the_parts(tmp_path, train, valid, test):
    parts(tmp_path, train, valid, test)
    draw(tmp_path / train / "a" / "more.png", 10)
    names = {"train": train, "valid": valid, "test": test}
    assert find_splits(tmp_path) == {part: tmp_path / name for part, name in names.items()}
    data = read_data(tmp_path)
    assert data.classes == class_names(tmp_path) == ("a", "b")
    assert not data.drawn and len(data.train) == 7 and len(data.valid) == len(data.test) == 6


def test_two_parts_and_one(tmp_path):
    assert set(read_data(parts(tmp_path / "two", "train", "eval")).given) == {"train", "valid"}
    assert read_data(parts(tmp_path / "one", "train")).classes == ("a", "b")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("val", "test"), r"has \['val', 'test'\], but no folder train or training"),
        (("test",), r"has \['test'\], but no folder train or training"),
        (("train", "Train"), r"has \['(T|t)rain', '(T|t)rain'\]: keep one"),
        (("train", "val", "valid"), r"has \['valid', 'val'\]: keep one"),
    ],
)
def test_parts_that_make_no_data_set(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        read_data(parts(tmp_path, *names))


def test_other_folders_beside_the_parts_are_left_out_or_refused_but_no_classes(tmp_path):
    root = parts(tmp_path / "root", "train", "val", "test")
    (root / "annotations").mkdir()
    (root / "annotations" / "labels.csv").write_text("without images")
    assert read_data(root).classes == ("a", "b")
    draw(root / "unlabelled" / "0.png")
    with pytest.warns(UserWarning, match=r"left out beside \['train', 'val', 'test'\]: unlabelled"):
        data = read_data(root)
    assert data.classes == ("a", "b") and set(data.given) == {"train", "valid", "test"}
    classes(root, "b")
    with pytest.raises(ValueError, match=r"beside b, unlabelled: give class folders alone"):
        read_data(root)
    for flat in (False, True):  # a class of that name, too, is better renamed than taken for a part
        mixed = classes(tmp_path / f"mixed {flat}")
        draw(mixed / "train" / "0.png") if flat else classes(mixed / "train")
        with pytest.raises(ValueError, match=r"\['train'\] beside a, b: .* such as train-class"):
            read_data(mixed)
    flat = tmp_path / "flat"
    for i in range(3):
        draw(flat / "train" / f"{i}.png")
        draw(flat / "test" / f"{i}.png")
    with pytest.raises(ValueError, match="train has no class folders"):
        read_data(flat)


def test_parts_inside_the_classes_are_refused(tmp_path):
    for name in "ab":
        for part in ("train", "test"):
            draw(tmp_path / name / part / "0.png")
    with pytest.raises(ValueError, match=r"has \['test', 'train'\] inside: .* such as test/a"):
        read_data(tmp_path)


def test_a_folder_around_the_data_set_is_looked_through(tmp_path):
    inner = parts(tmp_path / "archive" / "animals-v2", "train", "val", "test")
    assert find_splits(tmp_path / "archive")["valid"] == inner / "val"
    plain = classes(tmp_path / "outer" / "inner")
    (tmp_path / "outer" / "__MACOSX").mkdir()
    assert find_splits(tmp_path / "outer") == {"train": plain}
    assert read_data(tmp_path / "outer").classes == ("a", "b")
    assert find_splits(plain) == {
        "train": plain
    }  # of class folders alone, nothing is looked through


JUNK = (".ipynb_checkpoints/0-checkpoint.png", "._0.png", ".hidden.png", "__MACOSX/0.png", "@eaDir/0.png")  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("where", ["", "a", "a/deep"])
def test_what_systems_add_is_no_image(tmp_path, junk, where):
    root = classes(tmp_path)
    draw(root / "a" / "deep" / "3.png", 10)
    path = root / where / junk
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\5\26\7Mac OS X")
    (root / where / "Thumbs.db").write_bytes(b"?")
    (root / where / "desktop.ini").write_bytes(b"?")
    data = read_data(root)
    assert data.classes == ("a", "b") and data.train.labels.bincount().tolist() == [4, 3]


def test_the_commands_own_results_are_no_images(tmp_path):
    root = classes(tmp_path)
    for where in (root / "which-block", root / "a"):  # a folder of its own, or a class's
        where.mkdir(exist_ok=True)
        (where / STORE).write_bytes(b"")
        draw(where / f"{STEM}.png", 99)
    data = read_data(root)
    assert data.classes == ("a", "b") and data.train.labels.bincount().tolist() == [3, 3]
    draw(root / "which-block" / "mine.png")  # now it holds an image of the user's
    assert class_names(root) == ("a", "b", "which-block")


def test_numbers_are_ordered_as_numbers(tmp_path):
    root = classes(tmp_path / "numbers", [str(k) for k in range(12)])
    data = read_data(root)
    assert data.classes == class_names(root) == tuple(map(str, range(12)))
    assert (data.train.images[:, 0, 0, 0] == 10 * (data.train.labels + 1)).all()
    assert data.describe_classes().startswith("12 classes in the order of their numbers, ")
    mixed = classes(tmp_path / "mixed", ["10", "2", "x"])
    assert class_names(mixed) == ("10", "2", "x")


def test_the_classes_found_are_printed_with_their_counts(tmp_path, capsys):
    root = tmp_path / "root"
    for part, count in {"train": 4, "val": 2}.items():
        classes(root / part, ["ant", "bee"], count)
    draw(root / "train" / "ant" / "more.png")
    line = "2 classes in the order of their names, with their images in train + valid: ant (5 + 2), bee (4 + 2)"
    read_data(root)
    assert capsys.readouterr().err == ""
    read_data(root, progress=True)
    assert capsys.readouterr().err == f"surgicalft: {line}\n"
    quick = {"epochs": 1, "rates": [1e-3], "seeds": 1, "selections": ["last"], "progress": False}
    assert f"{line}." in str(which_block(Toy(2), root, **quick)).splitlines()
    many = classes(tmp_path / "many", [f"c{k:03}" for k in range(25)], 3)
    described = read_data(many).describe_classes()
    assert "c019 (3) and 5 more" in described and "c020" not in described


def test_links_are_followed_and_loops_end(tmp_path):
    other = classes(tmp_path / "other", ["c"], 2)
    root = classes(tmp_path / "root")
    os.symlink(other / "c", root / "c")  # a class
    os.symlink(other / "c" / "0.png", root / "a" / "link.png")
    os.symlink(other, root / "b" / "more")
    draw(root / "c" / "2.png")
    for place in (root, root / "a", other / "c"):
        os.symlink(root, place / "loop")
        os.symlink("itself", place / "itself")
    data = read_data(root)
    assert data.classes == ("a", "b", "c")
    assert data.train.labels.bincount().tolist() == [4, 6, 3]
    os.symlink("nowhere", root / "a" / "broken.png")
    with pytest.raises(UnreadableImages, match=r"1 of 14 .*broken\.png \(FileNotFoundError"):
        read_data(root)


def test_empty_class_folders_are_named(tmp_path):
    root = classes(tmp_path)
    (root / "empty").mkdir()
    (root / "notes").mkdir()
    (root / "notes" / "a.txt").write_text("?")
    with pytest.raises(ValueError, match=r"no images .* in the class folders \['empty', 'notes'\]"):
        read_data(root)


def test_images_of_formats_that_are_not_read_are_named(tmp_path):
    root = classes(tmp_path)
    (root / "a" / "photo.HEIC").write_bytes(b"?")
    (root / "a" / "notes.txt").write_text("no image")
    with pytest.warns(UserWarning, match=r"1 files are left out, .*: \S+photo\.HEIC") as caught:
        assert len(read_data(root).train) == 6
    assert len(caught) == 1


def vast(width, height):
    """A PNG file whose header promises so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": b"", b"IEND": b""}
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("size", [None, 4])
def test_every_file_that_cannot_be_read_is_named_in_one_error(tmp_path, size):
    root = parts(tmp_path, "train", "val", "test")
    good = (root / "train" / "a" / "0.png").read_bytes()
    bad = {
        "train/a/text.png": b"no image",
        "train/b/empty.png": b"",
        "train/b/cut.png": good[:45],
        "val/a/eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n",
        "test/a/bomb.png": vast(20_000, 20_000),
        "test/a/warned of.png": vast(9_000, 10_001),
    }
    for name, content in bad.items():
        (root / name).write_bytes(content)
    os.mkfifo(root / "val" / "b" / "pipe.png")
    Image.fromarray(np.full((4, 4), 7, np.int32)).save(root / "test" / "b" / "unclear.tif")
    names = {*bad, "val/b/pipe.png", "test/b/unclear.tif"}
    with pytest.raises(UnreadableImages, match="8 of 26 images") as caught:
        read_data(root, size=size)
    assert {str(file.relative_to(root)) for file in caught.value.files} == names
    for name in names:
        assert name in str(caught.value)
    assert "is not a regular file" in str(caught.value)


def test_images_are_upright_scaled_and_white_behind(tmp_path):
    root = classes(tmp_path / "root")
    exif = Image.Exif()
    exif[0x0112] = 6  # the file's left column is the top row
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, 0] = 255, 0, 0
    Image.fromarray(pixels).save(root / "a" / "x.png", exif=exif)
    Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)).save(root / "a" / "y.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(root / "a" / "z.png")
    turned, deep, clear = read_data(root).train.images[3:6]
    assert turned[:, 0].T.tolist() == [[255, 0, 0]] * 4 and (turned[:, 1:] == 0).all()
    assert (deep == 128).all() and (clear == 255).all()
    tall = tmp_path / "tall"
    for name in "ab":
        for i in range(3):
            path = tall / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6)).save(path, exif=exif)
    with pytest.raises(ValueError, match=r"\.png is 6 x 8; give `size`"):
        read_folders({"train": tall})


def test_a_folder_without_an_ending_is_no_image(tmp_path):
    root = classes(tmp_path)
    shutil.copy(root / "a" / "0.png", root / "a" / "no ending")
    (root / "a" / "folder.png").mkdir()
    assert torch.equal(read_data(root).train.labels.bincount(), torch.tensor([3, 3]))
