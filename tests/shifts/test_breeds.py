"""Living-17 and Entity-30: the lists themselves, and both tasks out of a small ImageNet folder."""

import shutil

import pytest
import torch
from test_imagenet import IDS, make_split

from surgicalft.shifts import breeds, get_scenario, load_source, split_target
from surgicalft.shifts.breeds_classes import ENTITY_30, LIVING_17
from surgicalft.shifts.catalogue import get_data_set
from surgicalft.shifts.image_files import Fit
from surgicalft.shifts.imagenet import PER_CLASS

NAMES = ("living-17", "entity-30")


@pytest.mark.parametrize(("task", "classes", "half"), [(LIVING_17, 17, 2), (ENTITY_30, 30, 4)])
def test_the_lists(task, classes, half):
    assert len(task) == classes
    assert all(len(row.source) == len(row.target) == half for row in task)
    ids = [i for row in task for i in row.source + row.target]
    assert len(set(ids)) == len(ids) == 2 * half * classes
    assert set(ids) <= set(IDS)
    nodes = [row.node for row in task]
    assert nodes == sorted(nodes)


def test_rows_of_the_papers_table():
    """Salamanders: eft, axolotl; common newt, spotted salamander. Bears: sloth, black; ice, brown."""
    rows = {row.name: row for row in LIVING_17}
    assert rows["salamander"].source == ("n01631663", "n01632777")
    assert rows["salamander"].target == ("n01630670", "n01632458")
    assert rows["bear"].source == ("n02134418", "n02133161")
    assert rows["bear"].target == ("n02134084", "n02132136")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An ImageNet folder with the subclasses of both tasks, and two others."""
    monkeypatch.setitem(PER_CLASS, "train", (20, 25))
    monkeypatch.setitem(PER_CLASS, "val", (3, 3))
    ids = {i for task in (LIVING_17, ENTITY_30) for row in task for i in row.source + row.target}
    others = [i for i in IDS if i not in ids][:2]
    for split, count in (("train", 20), ("val", 3)):
        make_split(tmp_path / "imagenet" / split, sorted(ids) + others, count)
    return tmp_path


def folders(data, label):
    """The WordNet ids of the images with that label."""
    rows = data.images.index[data.labels == label].tolist()
    return {data.images.files[row].parent.name for row in rows}


@pytest.mark.parametrize("name", NAMES)
def test_source_and_target_show_their_own_subclasses(root, name):
    task = breeds.TASKS[name]
    scenario = get_scenario(name)
    assert (scenario.name, scenario.kind, scenario.source) == (name, "feature", name)
    source, target = load_source(name, root), scenario.load(root)
    assert source.classes == target.classes == len(task)
    for k, row in enumerate(task):
        for part in (source.train, source.valid, source.test):
            assert folders(part, k) <= set(row.source)
        assert folders(source.test, k) == set(row.source)
        for part in (target.pool, target.test):
            assert folders(part, k) == set(row.target)
    assert {file.parts[-3] for file in source.train.images.files} == {"train"}
    assert {file.parts[-3] for file in target.pool.images.files} == {"train"}
    assert {file.parts[-3] for file in source.test.images.files} == {"val"}
    assert {file.parts[-3] for file in target.test.images.files} == {"val"}


def test_sizes_and_splits(root):
    source, target = load_source("living-17", root), get_scenario("living-17").load(root)
    assert source.valid.labels.bincount().tolist() == [4] * 17  # a tenth of 2 x 20
    assert source.train.labels.bincount().tolist() == [36] * 17
    assert target.test.labels.bincount().tolist() == [6] * 17
    again = load_source("living-17", root)
    assert torch.equal(source.valid.images.index, again.valid.images.index)
    splits = split_target(target.pool, 17 * 5, 17 * 2, seed=0, classes=17, apart=target.test)
    assert splits.tune.labels.bincount().tolist() == [5] * 17
    assert len(splits.test) == 17 * 6
    assert splits.tune.images[:2].shape == (2, 3, 224, 224)
    assert splits.tune.images.fit == Fit(224, resize=256)


def test_missing_subclasses_and_splits_are_named(root):
    missing = (LIVING_17[3].target[1], LIVING_17[8].target[0])
    for name in missing:
        shutil.rmtree(root / "imagenet" / "train" / name)
    with pytest.raises(FileNotFoundError, match=f"train lacks .* 2 classes: {', '.join(missing)}"):
        get_scenario("living-17").load(root)
    shutil.rmtree(root / "imagenet" / "train")
    with pytest.raises(FileNotFoundError, match=r"imagenet has no train/"):
        load_source("entity-30", root)


def test_too_few_images_of_a_subclass(root):
    name = ENTITY_30[0].source[2]
    for i in range(5):
        (root / "imagenet" / "train" / name / f"{name}_{i:03}.JPEG").unlink()
    with pytest.raises(ValueError, match=f"do not have 20 to 25 .JPEG images: {name} has 15"):
        load_source("entity-30", root)


def test_options_are_refused():
    with pytest.raises(ValueError, match="'living-17' takes no options"):
        get_scenario("living-17/5")


@pytest.mark.parametrize(("name", "subclasses"), [("living-17", 68), ("entity-30", 240)])
def test_check(root, name, subclasses):
    data_set = get_data_set(name)
    assert f"the {subclasses} subclasses" in data_set.layout
    facts = data_set.check(root)
    assert facts[0].startswith(f"train: {subclasses} subclasses, {20 * subclasses} images;")
    assert facts[1].startswith(f"val: {subclasses} subclasses, {3 * subclasses} images;")
    with pytest.raises(FileNotFoundError, match="image-net"):
        data_set.check(root / "imagenet")
