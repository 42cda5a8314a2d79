"""Waterbirds and CelebA through the true wilds, on small copies in the publishers' layouts, and broken ones."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision import transforms
from wilds_fixtures import CELEBA as CELEBA_COUNTS
from wilds_fixtures import WATERBIRDS as WATERBIRDS_COUNTS
from wilds_fixtures import grey, write_celeba, write_image, write_waterbirds

from surgicalft.shifts.base import get_scenario, load_source, split_target
from surgicalft.shifts.catalogue import get_data_set
from surgicalft.shifts.image_files import ImageFiles, UnreadableImages
from surgicalft.shifts.spurious import CELEBA, WATERBIRDS
from surgicalft.shifts.wilds_check import check_wilds
from surgicalft.shifts.wilds_files import open_wilds

BOTH = {
    "waterbirds": (WATERBIRDS, write_waterbirds, WATERBIRDS_COUNTS),
    "celeba": (CELEBA, write_celeba, CELEBA_COUNTS),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for _, write, _ in BOTH.values():
        write(root)
    return root


@pytest.fixture
def broken(copies, tmp_path):
    """Copies that a test may break."""
    return shutil.copytree(copies, tmp_path / "data")


def edit(table, change):
    change(pd.read_csv(table)).to_csv(table, index=False)


def expected(root, name):
    """By image file: (split, group), read without wilds."""
    if name == "waterbirds":
        table = pd.read_csv(root / "waterbirds_v1.0" / "metadata.csv")
        groups, files = 2 * table.y + table.place, table.img_filename
        return dict(zip(files, zip(table.split, groups, strict=True), strict=True))
    table = pd.read_csv(root / "celebA_v1.0" / "list_attr_celeba.csv").merge(
        pd.read_csv(root / "celebA_v1.0" / "list_eval_partition.csv"), on="image_id"
    )
    groups = 2 * (table.Blond_Hair == 1).astype(int) + (table.Male == 1)
    files = "img_align_celeba/" + table.image_id
    return dict(zip(files, zip(table.partition, groups, strict=True), strict=True))


def placed(root, name, part, split):
    """Asserts that files, labels and groups go together as the tables say; returns the files' names."""
    folder, table = root / BOTH[name][0].folder, expected(root, name)
    names = [part.images.file(i).relative_to(folder).as_posix() for i in range(len(part))]
    assert [(split, g) for g in part.groups.tolist()] == [table[n] for n in names]
    assert torch.equal(part.labels, part.groups // 2)
    return names


@pytest.mark.parametrize("name", BOTH)
def test_source_is_the_official_splits(copies, name):
    source = load_source(name, copies)
    assert source.classes == 2
    for number, (split, part) in enumerate(
        zip(("train", "val", "test"), (source.train, source.valid, source.test), strict=True)
    ):
        assert part.groups.bincount().tolist() == list(BOTH[name][2][split])
        names = placed(copies, name, part, number)
        assert len(set(names)) == len(names)
    assert (
        f"{BOTH[name][0].folder}, not as published: train {list(BOTH[name][2]['train'])} instead"
        in (source.provenance)
    )


@pytest.mark.parametrize("name", BOTH)
def test_target_is_tuned_on_validation_and_tested_on_balanced_test_images(copies, name):
    scenario = get_scenario(name)
    assert (scenario.name, scenario.kind, scenario.source) == (name, "output", name)
    target, again = scenario.load(copies), scenario.load(copies)
    assert target.pool.groups.bincount().tolist() == list(BOTH[name][2]["val"])
    placed(copies, name, target.pool, 1)
    assert target.test.groups.bincount().tolist() == [3, 3, 3, 3]
    tested = placed(copies, name, target.test, 2)
    assert tested == placed(copies, name, again.test, 2)
    splits = split_target(target.pool, 8, 4, 0, classes=2, apart=target.test)
    assert splits.tune.groups.bincount().tolist() == [2, 2, 2, 2]
    assert splits.test is target.test


@pytest.mark.parametrize("name", BOTH)
def test_loading_reads_no_image_and_indexing_the_right_one(copies, name, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, "read_all", None)
        source, target = load_source(name, copies), get_scenario(name).load(copies)
    for part in (source.train, target.pool, target.test):
        images = part.images[torch.tensor([3, 0])]
        assert images.shape == (2, 3, 224, 224) and images.dtype == torch.uint8
        for image, place in zip(images, (3, 0), strict=True):
            digits = "".join(filter(str.isdigit, part.images.file(place).stem))
            row = int(digits) - (name == "celeba")
            assert (image.int() - grey(row)).abs().max() <= 2  # JPEG


# The transforms of group DRO's data/cub_dataset.py and data/celebA_dataset.py, without augmentation.
SAGAWA = {
    "waterbirds": [transforms.Resize((256, 256)), transforms.CenterCrop(224)],
    "celeba": [transforms.CenterCrop(178), transforms.Resize(224)],
}


@pytest.mark.parametrize(("name", "side"), [("waterbirds", (310, 277)), ("celeba", (178, 218))])
def test_images_are_fitted_as_by_sagawa_et_al(name, side):
    noise = np.random.default_rng(0).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    steps = transforms.Compose([*SAGAWA[name], transforms.PILToTensor()])
    assert torch.equal(torch.from_numpy(BOTH[name][0].fit(image).copy()), steps(image))


def as_published(name):
    data, _, counts = BOTH[name]
    return replace(data, counts=counts)


@pytest.mark.parametrize("name", BOTH)
def test_check_states_what_it_verified(copies, name):
    facts = check_wilds(as_published(name), copies)
    counts = BOTH[name][2]
    total = sum(map(sum, counts.values()))
    assert facts == [
        *(f"{split}: {', '.join(map(str, sizes))} images" for split, sizes in counts.items()),
        f"{total} image files are there",
        "the first 3 images of each split are "
        + ("readable" if name == "waterbirds" else "178 x 218 pixels"),
    ]
    assert open_wilds(as_published(name), copies).provenance == BOTH[name][0].folder


@pytest.mark.parametrize("name", BOTH)
def test_catalogue_and_its_counts(copies, name):
    listed = get_data_set(name)
    assert listed.scenarios == (name,) and listed.found(copies) == copies / BOTH[name][0].folder
    with pytest.raises(
        ValueError, match=r"images per split and group differ: train \[6, .*\] instead of"
    ):
        listed.check(copies)
    published = {"waterbirds": [4795, 1199, 5794], "celeba": [162_770, 19_867, 19_962]}
    assert [sum(sizes) for sizes in BOTH[name][0].counts.values()] == published[name]


def test_check_finds_missing_files(broken):
    folder = broken / "waterbirds_v1.0"
    (folder / "001.Bird" / "Bird_0000.jpg").unlink()
    shutil.rmtree(folder / "002.Bird")
    waterbirds = sum(sum(sizes[2:]) for sizes in WATERBIRDS_COUNTS.values())
    with pytest.raises(
        FileNotFoundError, match=rf"{waterbirds + 1} of 47 image files are missing: .*, \.\.\.$"
    ):
        check_wilds(as_published("waterbirds"), broken)


def test_check_finds_other_shapes_and_unreadable_images(broken):
    image = broken / "celebA_v1.0" / "img_align_celeba" / "000002.jpg"
    write_image(image, 1, (64, 64))
    with pytest.raises(ValueError, match=r"000002.jpg is of \(64, 64\) pixels, not \(178, 218\)"):
        check_wilds(as_published("celeba"), broken)
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(UnreadableImages, match=r"000002\.jpg"):
        check_wilds(as_published("celeba"), broken)


@pytest.mark.parametrize("spoil", ["remove", "cut"])
def test_an_unreadable_image_is_named_when_read(broken, spoil):
    part = load_source("waterbirds", broken).train
    file = part.images.file(2)
    file.unlink() if spoil == "remove" else file.write_bytes(file.read_bytes()[:200])
    assert part.images[:2].shape == (2, 3, 224, 224)
    with pytest.raises(UnreadableImages, match=rf"1 of 4 images cannot be read: {file}"):
        part.images[:4]


@pytest.mark.parametrize("name", BOTH)
def test_absent(tmp_path, monkeypatch, name):
    folder = BOTH[name][0].folder
    message = (
        rf"{name}: no {folder}/RELEASE_v1.0.txt, {folder}/.*\.csv.* in {tmp_path}\. Get https://.*"
    )
    for load in (lambda place: load_source(name, place), get_scenario(name).load):
        with pytest.raises(
            FileNotFoundError, match=message + rf"unpack it into {tmp_path / folder}"
        ):
            load(tmp_path)
        assert not any(tmp_path.iterdir())
        monkeypatch.delenv("SURGICALFT_DATA", raising=False)
        with pytest.raises(
            FileNotFoundError, match=r"in any data folder.* set data_dir or SURGICALFT_DATA"
        ):
            load(None)
    assert get_data_set(name).found(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("waterbirds", "RELEASE_v1.0.txt"),
        ("waterbirds", "metadata.csv"),
        ("celeba", "list_eval_partition.csv"),
        ("celeba", "img_align_celeba"),
    ],
)
def test_a_missing_piece_is_named(broken, name, lost):
    place = broken / BOTH[name][0].folder / lost
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no {place.parent.name}/{lost} in"):
        load_source(name, broken)


def test_an_unfinished_download_is_named(tmp_path):
    (tmp_path / "waterbirds_v1.0").mkdir()
    (tmp_path / "waterbirds_v1.0" / "archive.tar.gz").write_bytes(b"half")
    with pytest.raises(
        FileNotFoundError, match=r"archive\.tar\.gz there is an unfinished download: delete it"
    ):
        load_source("waterbirds", tmp_path)


def celeba(table):
    return f"celebA_v1.0/{table}"


@pytest.mark.parametrize(
    ("name", "table", "change", "message"),
    [
        (
            "waterbirds",
            "waterbirds_v1.0/metadata.csv",
            lambda f: f.rename(columns={"place": "background", "y": "label"}),
            "metadata.csv has no column y, place; expected img_filename, y, split, place, found img_id, "
            "img_filename, label, split, background, place_filename",
        ),
        (
            "celeba",
            celeba("list_attr_celeba.csv"),
            lambda f: f.drop(columns="Male"),
            "list_attr_celeba.csv has no column Male; expected image_id, Blond_Hair, Male, found image_id",
        ),
        (
            "waterbirds",
            "waterbirds_v1.0/metadata.csv",
            lambda f: f[f.split != 1],
            r"a split has no images; images per split: \{'train': 15, 'val': 0, 'test': 18\}",
        ),
        (
            "waterbirds",
            "waterbirds_v1.0/metadata.csv",
            lambda f: f.assign(y=f.y.where(f.index != 3, 2)),
            r"labels must be 0 to 1, all of them in the training split; found \[0, 1, 2\]",
        ),
        (
            "celeba",
            celeba("list_attr_celeba.csv"),
            lambda f: f.assign(Blond_Hair=-1),
            r"labels must be 0 to 1.* found \[0\], in the training split \[0\]",
        ),
        (
            "waterbirds",
            "waterbirds_v1.0/metadata.csv",
            lambda f: f.assign(place=f.place.where(f.index != 3, 2)),
            r"background must be 0 or 1, found \[0, 1, 2\]",
        ),
        (
            "waterbirds",
            "waterbirds_v1.0/metadata.csv",
            lambda f: f.assign(y=f.y.astype(float).where(f.index != 3)),
            "wilds cannot read the tables in",
        ),
        (
            "celeba",
            celeba("list_eval_partition.csv"),
            lambda f: f.iloc[::-1],
            "row 1 is '000001.jpg' in list_attr_celeba.csv, but '000049.jpg' in list_eval_partition.csv",
        ),
    ],
)
def test_other_tables_are_refused(broken, name, table, change, message):
    edit(broken / table, change)
    for load in (lambda: load_source(name, broken), lambda: get_scenario(name).load(broken)):
        with pytest.raises(ValueError, match=message):
            load()


def test_a_test_split_without_a_group_is_refused(broken):
    edit(
        broken / "waterbirds_v1.0/metadata.csv",
        lambda f: f[~((f.split == 2) & (f.y == 1) & (f.place == 1))],
    )
    assert load_source("waterbirds", broken).test.groups.bincount().tolist() == [6, 6, 3]
    with pytest.raises(ValueError, match=r"no images of group 3; per group: \[6, 6, 3, 0\]"):
        get_scenario("waterbirds").load(broken)
