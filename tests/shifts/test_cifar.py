"""CIFAR-10's doors on small fixtures in the publishers' layouts, and what is refused."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from surgicalft.shifts import KINDS, cifar, get_scenario, load_source, scenario_names, split_target
from surgicalft.shifts.cifar import CLASSES, load_cifar
from surgicalft.shifts.cifar_copies import COPIES, Copy
from surgicalft.shifts.cifar_files import read_corrupted
from surgicalft.shifts.image_folder import read_image_folder

PER_CLASS = {"train": 20, "test": 12}
COUNTS = {split: 10 * n for split, n in PER_CLASS.items()}


def pixels(split, k, i):
    """Any image, as long as it tells which one it is."""
    return np.full((32, 32, 3), 100 * (split == "test") + 9 * k + i % 9, dtype=np.uint8)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))
    cifar._load.cache_clear()
    yield
    cifar._load.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small image folder in the layout of the PNG copies of CIFAR-10, and COPIES that expect its size."""
    for split, n in PER_CLASS.items():
        for k, name in enumerate(CLASSES):
            place = tmp_path / "data" / "cifar10" / split / name
            place.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(pixels(split, k, i)).save(place / f"{i:04}.png")
    small = {
        name: Copy(copy.folder, copy.archive, copy.suffix, COUNTS, copy.note)
        for name, copy in COPIES.items()
    }
    monkeypatch.setattr(cifar, "COPIES", small)
    return tmp_path / "data"


def archive_of(folder):
    path = folder.parent / "archived" / "cifar10.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder / "cifar10", "cifar10")
    return path


def test_folder_and_archive_hold_the_same(folder):
    direct = load_cifar("cifar10", folder)
    cifar._load.cache_clear()
    archived = [load_cifar("cifar10", archive_of(folder).parent)]
    cifar._load.cache_clear()  # now from the decoded cache
    archived.append(load_cifar("cifar10", folder.parent / "archived"))
    for parts in archived:
        for split in COUNTS:
            assert torch.equal(parts[split].images, direct[split].images)
            assert torch.equal(parts[split].labels, direct[split].labels)
    images, labels = direct["test"].images, direct["test"].labels
    assert images.shape == (120, 3, 32, 32)
    assert images[25, 0, 0, 0] == pixels("test", 2, 1)[0, 0, 0] and labels[25] == 2


def test_source_holds_out_a_tenth_by_class(folder):
    source = load_source("cifar10", folder)
    assert [len(part) for part in (source.train, source.valid, source.test)] == [180, 20, 120]
    assert source.valid.labels.bincount().tolist() == [2] * 10


def test_flip_changes_labels_only(folder):
    target = get_scenario("cifar10-flip").load(folder)
    test = load_cifar("cifar10", folder)["test"]
    assert torch.equal(target.pool.labels, 9 - test.labels)
    assert torch.equal(target.pool.images, test.images)


def test_generated_corruption_keeps_labels_and_says_so(folder):
    target = get_scenario("cifar10-c-generated/contrast/2").load(folder)
    test = load_cifar("cifar10", folder)["test"]
    assert torch.equal(target.pool.labels, test.labels)
    assert target.pool.images.shape == test.images.shape
    assert "corrupted by surgicalft" in target.provenance


def test_a_jpeg_folder_is_not_taken_for_exact_pixels(folder):
    with pytest.raises(FileNotFoundError, match=r"cifar10-jpeg: no cifar10/ of \.jpg files"):
        load_cifar("cifar10-jpeg", folder)


def test_official_batches_through_torchvision(tmp_path, monkeypatch):
    """A fixture in the official layout; the sums of the true files cannot be its own."""
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(names):
        rows = np.full((10, 3072), number, dtype=np.uint8)
        rows[:, :1024] = 200  # red comes first
        content = {"data": rows, "labels": list(range(10))}
        (place / name).write_bytes(pickle.dumps(content))
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}))
    with pytest.raises(ValueError, match="incomplete or altered"):
        load_cifar("cifar10", tmp_path)
    monkeypatch.setattr(CIFAR10, "train_list", [[n, None] for n in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(
        CIFAR10,
        "meta",
        {"filename": "batches.meta", "key": "label_names", "md5": None},
    )
    parts = load_cifar("cifar10", tmp_path)
    assert parts["train"].images.shape == (50, 3, 32, 32)
    assert parts["test"].images[3, :, 5, 7].tolist() == [200, 5, 5]
    assert parts["test"].labels.tolist() == list(range(10))


@pytest.fixture
def corrupted(tmp_path):
    """CIFAR-10-C's layout at 4 images a severity instead of 10,000."""
    place = tmp_path / "CIFAR-10-C"
    place.mkdir()
    images = (
        np.zeros((20, 32, 32, 3), dtype=np.uint8)
        + np.arange(20, dtype=np.uint8)[:, None, None, None]
    )
    np.save(place / "fog.npy", images)
    np.save(place / "labels.npy", np.tile(np.arange(4, dtype=np.uint8), 5))
    return tmp_path


def test_published_layout_gives_the_severity_asked_for(corrupted):
    images, labels = read_corrupted(corrupted, "fog", 3, count=4)
    assert images.shape == (4, 3, 32, 32) and images[:, 0, 0, 0].tolist() == [8, 9, 10, 11]
    assert labels.tolist() == [0, 1, 2, 3] and labels.dtype == np.int64


def test_published_files_of_another_shape_truncated_or_absent(corrupted):
    place = corrupted / "CIFAR-10-C"
    with pytest.raises(ValueError, match=r"fog\.npy holds uint8 \(20, 32, 32, 3\), expected"):
        read_corrupted(corrupted, "fog", 5)
    with pytest.raises(FileNotFoundError, match=r"snow\.npy does not exist"):
        read_corrupted(corrupted, "snow", 5, count=4)
    whole = (place / "fog.npy").read_bytes()
    for length in (0, 40, len(whole) - 1000):
        (place / "fog.npy").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"fog\.npy is truncated"):
            read_corrupted(corrupted, "fog", 5, count=4)
    np.save(place / "fog.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"fog\.npy is truncated or not"):
        read_corrupted(corrupted, "fog", 5, count=4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10-c/mist", r"unknown scenario 'cifar10-c/mist'; legal: .*cifar10-c/fog"),
        ("cifar10-c/fog/6", r"severity must be one of \[1, 2, 3, 4, 5\], not '6'"),
        ("cifar10-c/fog/0", "severity must be one of"),
        ("cifar100", "unknown scenario 'cifar100'; families: .*cifar10-c"),
        ("cifar10-flip/3", "takes no options"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        get_scenario(name)


def test_every_scenario_of_the_list_exists():
    names = scenario_names()
    assert {get_scenario(name).kind for name in names} == set(KINDS)
    assert len([name for name in names if name.startswith("cifar10-c/")]) == 19


def test_a_folder_that_is_missing_empty_or_short(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist or is not a folder"):
        load_cifar("cifar10", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"cifar10-lossless.*SURGICALFT_DATA"):
        load_cifar("cifar10-lossless", folder)
    (folder / "cifar10" / "test" / "cat" / "0003.png").unlink()
    with pytest.raises(ValueError, match="119 test images, expected 120"):
        load_cifar("cifar10", folder)
    (folder / "cifar10" / "test" / "cat").rename(folder / "cifar10" / "test" / "lion")
    with pytest.raises(ValueError, match=r"test has classes .*'lion'"):
        load_cifar("cifar10", folder)


def test_an_empty_folder(tmp_path):
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(ValueError, match=r"train has classes \[\], expected"):
        load_cifar("cifar10", tmp_path)


def test_an_image_cut_short_or_of_another_size(folder):
    place = folder / "cifar10" / "train" / "dog" / "0001.png"
    place.write_bytes(place.read_bytes()[:30])
    with pytest.raises(ValueError, match=r"dog/0001\.png is not a readable image"):
        load_cifar("cifar10", folder)
    Image.fromarray(np.zeros((28, 28, 3), np.uint8)).save(place)
    with pytest.raises(ValueError, match=r"dog/0001\.png is \(28, 28, 3\), expected \(32, 32, 3\)"):
        load_cifar("cifar10", folder)


def test_an_archive_cut_short_and_one_that_points_outside(folder, tmp_path):
    path = archive_of(folder)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cifar10\.tgz is truncated or not a tar archive"):
        read_image_folder(path, CLASSES, 32, COUNTS, ".png")
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as archive:
        member = tarfile.TarInfo("../../escaped.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(ValueError, match="classes"):
        read_image_folder(evil, CLASSES, 32, COUNTS, ".png")
    assert not list(tmp_path.parent.rglob("escaped.png"))


def test_an_unreachable_publisher_is_named(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("surgicalft.shifts.download.pooch.retrieve", unreachable)
    with pytest.raises(
        FileNotFoundError, match=r"cifar-10-python\.tar\.gz.*cs\.toronto\.edu/~kriz/cifar\.html"
    ):
        load_cifar("cifar10", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"CIFAR-10-C\.tar.*zenodo\.org/records/2535967"):
        get_scenario("cifar10-c/fog").load(tmp_path)


def test_more_target_images_than_there_are(folder):
    pool = load_cifar("cifar10", folder)["test"]
    with pytest.raises(
        ValueError, match="class 0 has 12 target images, fewer than the 16 asked for"
    ):
        split_target(pool, tune=100, valid=50, seed=0)
    with pytest.raises(ValueError, match="tune=15 is not a multiple of the 10 classes"):
        split_target(pool, tune=15, valid=10, seed=0)
