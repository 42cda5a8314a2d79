"""Camelyon17 and FMoW through the true wilds, on small copies in the publishers' layouts, and broken ones."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from wilds_fixtures import CAMELYON17 as COUNTS
from wilds_fixtures import grey, write_camelyon17, write_fmow

from surgicalft.shifts.base import get_scenario, load_source, split_target
from surgicalft.shifts.catalogue import get_data_set
from surgicalft.shifts.image_files import ImageFiles, UnreadableImages
from surgicalft.shifts.wilds import CAMELYON17, FMOW
from surgicalft.shifts.wilds_check import check_wilds

TABLES = {
    "camelyon17": "camelyon17_v1.0/metadata.csv",
    "fmow": "fmow_v1.1/rgb_metadata.csv",
    "regions": "fmow_v1.1/country_code_mapping.csv",
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_camelyon17(root)
    write_fmow(root)
    return root


@pytest.fixture
def broken(copies, tmp_path):
    """Tables that a test may break; images are not looked at."""
    keep = shutil.ignore_patterns("*.png")
    return shutil.copytree(copies, tmp_path / "data", ignore=keep)


def files(part):
    return [part.images.file(i) for i in range(len(part))]


def camelyon17_rows(root, part):
    """The table's rows of these images, which their files' names tell (x is 3328 + row)."""
    rows = [int(file.stem.split("_")[6]) - 3328 for file in files(part)]
    table = pd.read_csv(root / TABLES["camelyon17"], dtype={"patient": str}).iloc[rows]
    for file, patient, node, label in zip(
        files(part), table.patient, table.node, table.tumor, strict=True
    ):
        assert file.parent.name == f"patient_{patient}_node_{node}" and file.is_file()
        assert label == part.labels[files(part).index(file)]
    return table


def test_camelyon17_source_is_three_hospitals(copies):
    source = load_source("camelyon17", copies)
    parts = (source.train, source.valid, source.test)
    assert [len(part) for part in parts] == [24, 6, 6] and source.classes == 2
    for part, split in zip(parts, (0, 1, 1), strict=True):
        table = camelyon17_rows(copies, part)
        assert set(table.center) <= {0, 3, 4} and set(table.split) == {split}
        assert part.groups is None
    assert set(files(source.valid)).isdisjoint(files(source.test))
    again = load_source("camelyon17", copies)
    assert files(source.valid) == files(again.valid) and files(source.test) == files(again.test)
    assert "train [24] instead of [302436]" in source.provenance


def test_camelyon17_target_is_a_hospital_by_itself(copies):
    scenario = get_scenario("camelyon17")
    assert (scenario.kind, scenario.source) == ("natural", "camelyon17")
    target = scenario.load(copies)
    assert set(camelyon17_rows(copies, target.pool).center) == {2}
    assert (len(target.pool), target.test, target.sparse) == (COUNTS["test"], None, False)
    splits = split_target(target.pool, 8, 4, 0, classes=2)
    assert splits.tune.labels.bincount().tolist() == [4, 4]
    assert len(splits.test) == COUNTS["test"] - 12


def test_camelyon17_images_are_not_resized(copies):
    pool = get_scenario("camelyon17").load(copies).pool
    image = pool.images[3:4]
    row = int(pool.images.file(3).stem.split("_")[6]) - 3328
    assert image.shape == (1, 3, 96, 96) and image.unique().tolist() == [grey(row)]


def fmow_table(root, part):
    """The table's rows of these images, whose files are named by the row; labels are categories in their order."""
    rows = [int(file.stem.removeprefix("rgb_img_")) for file in files(part)]
    table = pd.read_csv(root / TABLES["fmow"]).iloc[rows]
    categories = sorted(pd.read_csv(root / TABLES["fmow"]).category.unique())
    assert [categories[label] for label in part.labels.tolist()] == table.category.tolist()
    return table.assign(year=table.timestamp.str[:4].astype(int))


def test_fmow_source_is_of_the_years_before_2013(copies):
    source = load_source("fmow", copies)
    assert source.classes == 62
    for part, split in zip(
        (source.train, source.valid, source.test), ("train", "val", "test"), strict=True
    ):
        table = fmow_table(copies, part)
        assert set(table.split) == {split} and table.year.max() < 2013
        assert part.labels.sort().values.tolist() == list(range(62)) and part.groups is None


def test_fmow_target_is_the_african_part_of_the_test_split(copies):
    scenario = get_scenario("fmow")
    assert (scenario.kind, scenario.source) == ("natural", "fmow")
    target = scenario.load(copies)
    table = fmow_table(copies, target.pool)
    assert set(table.split) == {"test"} and table.year.min() >= 2016
    whole = pd.read_csv(copies / TABLES["fmow"])
    there = (whole.split == "test") & (whole.timestamp >= "2016") & (whole.country_code == "KEN")
    assert set(table.country_code) == {"KEN"} and len(table) == there.sum() == 21
    assert (target.classes, target.test, target.sparse) == (62, None, True)
    assert "21 images of the test split, Africa" in target.provenance
    splits = split_target(target.pool, 62, 0, 0, classes=62, sparse=True)
    assert len(splits.tune) == 21  # one of each class that there is


def test_fmow_images_are_those_of_their_rows(copies, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, "read_all", None)  # loading reads none
        pool = get_scenario("fmow").load(copies).pool
    for place in (0, 9):
        row = int(pool.images.file(place).stem.removeprefix("rgb_img_"))
        image = pool.images[torch.tensor([place])]
        assert image.shape == (1, 3, 224, 224) and image.unique().tolist() == [grey(row)]


SIZES = {"camelyon17": COUNTS, "fmow": dict.fromkeys(FMOW.counts, 62)}
DATA = {"camelyon17": CAMELYON17, "fmow": FMOW}


def as_published(name):
    return replace(DATA[name], counts={split: (n,) for split, n in SIZES[name].items()})


@pytest.mark.parametrize(("name", "side"), [("camelyon17", 96), ("fmow", 224)])
def test_check_states_what_it_verified(copies, name, side):
    assert check_wilds(as_published(name), copies) == [
        *(f"{split}: {n} images" for split, n in SIZES[name].items()),
        f"{sum(SIZES[name].values())} image files are there",
        f"the first 3 images of each split are {side} x {side} pixels",
    ]


@pytest.mark.parametrize("name", DATA)
def test_catalogue_and_its_counts(copies, name):
    listed = get_data_set(name)
    assert listed.scenarios == (name,) and listed.found(copies) == copies / DATA[name].folder
    with pytest.raises(ValueError, match=r"images per split differ: train \[\d+\] instead of \["):
        listed.check(copies)
    assert {"camelyon17": 455_954, "fmow": 141_696}[name] == sum(
        size for (size,) in DATA[name].counts.values()
    )


@pytest.mark.parametrize("name", DATA)
def test_missing_files(broken, name):
    with pytest.raises(
        FileNotFoundError, match=r"(\d+) of \1 image files are missing: .*, \.\.\.$"
    ):
        check_wilds(as_published(name), broken)
    part = load_source(name, broken).train
    with pytest.raises(UnreadableImages, match=f"2 of 2 images .*{part.images.file(1)}"):
        part.images[:2]


@pytest.mark.parametrize("name", DATA)
def test_absent(tmp_path, name):
    folder = DATA[name].folder
    for load in (lambda: load_source(name, tmp_path), lambda: get_scenario(name).load(tmp_path)):
        with pytest.raises(
            FileNotFoundError, match=rf"{name}: no {folder}/RELEASE.* in {tmp_path}\. Get https://"
        ):
            load()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "table", "change", "message"),
    [
        (
            "camelyon17",
            "camelyon17",
            lambda f: f.drop(columns=["slide", "tumor"]),
            "metadata.csv has no column tumor, slide; expected patient, node, x_coord, y_coord, tumor, slide, "
            "center, split, found Unnamed: 0, patient",
        ),
        (
            "fmow",
            "fmow",
            lambda f: f.drop(columns="timestamp"),
            "rgb_metadata.csv has no column timestamp",
        ),
        ("fmow", "regions", lambda f: f.drop(columns="region"), "mapping.csv has no column region"),
        (
            "camelyon17",
            "camelyon17",
            lambda f: f[f.center != 2],
            r"a split has no images; images per split: \{'train': 24, .*'test': 0\}",
        ),
        ("fmow", "fmow", lambda f: f[f.split != "val"], "a split has no images; .*'id_val': 0"),
        (
            "camelyon17",
            "camelyon17",
            lambda f: f.assign(tumor=f.index % 3),
            r"labels must be 0 to 1, .* found \[0, 1, 2\]",
        ),
        (
            "fmow",
            "fmow",
            lambda f: f[f.category != "zoo"],
            r"labels must be 0 to 61, .* found \[.*, 60\], in the training split",
        ),
        (
            "fmow",
            "fmow",
            lambda f: f.replace({"category": {"zoo": "volcano"}}),
            r"wilds cannot read the tables in .*fmow_v1.1: unknown value 'volcano'",
        ),
        (
            "fmow",
            "fmow",
            lambda f: f.assign(timestamp="tomorrow"),
            "cannot read the tables in .*tomorrow",
        ),
    ],
)
def test_other_tables_are_refused(broken, name, table, change, message):
    place = broken / TABLES[table]
    change(pd.read_csv(place, dtype={"patient": str})).to_csv(place, index=False)
    for load in (lambda: load_source(name, broken), lambda: get_scenario(name).load(broken)):
        with pytest.raises(ValueError, match=message):
            load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.replace({"country_code": {"KEN": "FRA"}}),
            "no image is in 'Africa'; regions: ",
        ),
        (
            lambda f: f.assign(country_code=f.country_code.where(f.split != "test", "USA")),
            "no image of the test split is in 'Africa'",
        ),
    ],
)
def test_a_test_split_without_africa_is_refused(broken, change, message):
    place = broken / TABLES["fmow"]
    change(pd.read_csv(place)).to_csv(place, index=False)
    assert len(load_source("fmow", broken).train) == 62
    with pytest.raises(ValueError, match=message):
        get_scenario("fmow").load(broken)
