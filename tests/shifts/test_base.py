"""Splits are stratified, disjoint, nested and named; registries and checks."""

import pytest
import torch

from surgicalft.shifts.base import Labelled, split_target


def pool(per_class=120, classes=10, groups=None):
    labels = torch.arange(per_class * classes) % classes
    images = torch.arange(len(labels)).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return Labelled((images % 256).to(torch.uint8).contiguous(), labels, groups)


@pytest.mark.parametrize(("test", "expected"), [("rest", 690), ("authors", 900)])
def test_sizes_and_balance(test, expected):
    tune = 410 if test == "rest" else 200
    splits = split_target(pool(), tune=tune, valid=100, seed=0, test=test)
    assert [len(splits.tune), len(splits.valid), len(splits.test)] == [tune, 100, expected]
    for part in (splits.tune, splits.valid, splits.test):
        assert len(set(part.labels.bincount().tolist())) == 1


@pytest.mark.parametrize("test", ["rest", "authors"])
def test_disjoint_and_nested_for_one_seed(test):
    whole = Labelled(torch.arange(250, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(250) % 2)
    small, large = (
        split_target(whole, tune=n, valid=4, seed=3, test=test, classes=2) for n in (10, 40)
    )
    sets = [set(p.images.flatten().tolist()) for p in (large.tune, large.valid, large.test)]
    assert sum(map(len, sets)) == len(set.union(*sets))
    assert torch.equal(small.valid.images, large.valid.images)
    assert set(small.tune.images.flatten().tolist()) < sets[0]


def test_seeds_differ_and_zero_is_one():
    tunes = [split_target(pool(), 100, 50, seed).tune.images for seed in (0, 0, 1)]
    assert torch.equal(tunes[0], tunes[1]) and not torch.equal(tunes[0], tunes[2])


def test_groups_are_the_strata_where_there_are_any():
    groups = torch.arange(1200) % 4
    splits = split_target(pool(groups=groups), tune=40, valid=20, seed=0)
    assert splits.tune.groups.bincount().tolist() == [10] * 4
    assert splits.valid.groups.bincount().tolist() == [5] * 4


def test_unknown_rule():
    with pytest.raises(ValueError, match=r"test must be one of \('rest', 'authors'\), not 'all'"):
        split_target(pool(), 100, 50, 0, test="all")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
)
def test_labelled_checks_types_and_shapes(images, labels):
    with pytest.raises(ValueError, match="must be"):
        Labelled(images, labels)


def grouped(counts):
    """Images whose groups have these sizes."""
    groups = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.zeros(len(groups), 3, 8, 8, dtype=torch.uint8)
    return Labelled(images, groups % 2, groups)


def test_a_test_kept_apart_is_left_as_it_is():
    pool, apart = grouped([5, 6, 7, 8]), grouped([3, 3, 3, 3])
    splits = split_target(pool, 12, 8, seed=0, apart=apart)
    assert splits.test is apart
    assert [len(splits.tune), len(splits.valid)] == [12, 8]
    for part, each in ((splits.tune, 3), (splits.valid, 2)):
        assert part.groups.bincount().tolist() == [each] * 4
    with pytest.raises(ValueError, match="class 0 has 5 target images, fewer than the 6 asked for"):
        split_target(pool, 12, 12, seed=0, apart=apart)


def test_sparse_classes_give_what_they_have():
    pool = Labelled(
        torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    )
    with pytest.raises(ValueError, match="classes=4 does not fit the 3 labels found: 0, 1, 2"):
        split_target(pool, 4, 4, seed=0, classes=4)
    with pytest.raises(ValueError, match="class 0 has 1 target images"):
        split_target(pool, 3, 3, seed=0)
    splits = split_target(pool, 4, 4, seed=0, classes=4, sparse=True)
    found = {p: getattr(splits, p).labels.tolist() for p in ("tune", "valid", "test")}
    assert found == {"tune": [0, 1, 2], "valid": [1, 2], "test": [2, 2, 2]}


def test_classes_are_those_of_the_labels():
    """A number that leaves some of them out, or says more, is a mistake, and not obeyed."""
    whole = pool(per_class=20)
    splits = split_target(whole, 20, 10, seed=0)
    for part in (splits.tune, splits.valid, splits.test):
        assert part.labels.unique().tolist() == list(range(10))
    stated = split_target(whole, 20, 10, seed=0, classes=10)
    assert torch.equal(stated.tune.images, splits.tune.images)
    for classes in (3, 9, 11):
        for sparse in (False, True) if classes < 10 else (False,):
            message = f"classes={classes} does not fit the 10 labels found: 0, 1, 2, .*, 9$"
            with pytest.raises(ValueError, match=message):
                split_target(whole, 3 * classes, 3 * classes, 0, classes=classes, sparse=sparse)
    odd = Labelled(whole.images, whole.labels * 2)
    assert split_target(odd, 20, 10, seed=0).tune.labels.unique().tolist() == list(range(0, 20, 2))
    with pytest.raises(ValueError, match="classes=10 does not fit the 10 labels found: 0, 2, 4"):
        split_target(odd, 20, 10, seed=0, classes=10)
    with pytest.raises(ValueError, match="tune=25 is not a multiple of the 10 classes"):
        split_target(whole, 25, 10, seed=0)


def test_labels_are_checked_where_groups_are_the_strata_too():
    whole = pool(groups=torch.arange(1200) % 4)
    with pytest.raises(ValueError, match="classes=2 does not fit the 10 labels found"):
        split_target(whole, 40, 20, seed=0, classes=2)
    with pytest.raises(ValueError, match="tune=41 is not a multiple of the 4 groups"):
        split_target(whole, 41, 20, seed=0)


def test_many_labels_are_told_in_short():
    with pytest.raises(ValueError, match=r"the 50 labels found: 0, 1, .*, 9, \.\.\., 49$"):
        split_target(pool(2, 50), 0, 0, seed=0, classes=40)


def test_nothing_to_split():
    with pytest.raises(ValueError, match="there are no images to split"):
        split_target(pool(per_class=0), 0, 0, seed=0)
