"""Balanced subsets and group accuracies, against a slow loop and against wilds' own numbers."""

import sys

import pytest
import torch
from wilds_fixtures import scatter_without_extension, write_waterbirds

from surgicalft.compat import wilds_class
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.groups import GROUPS, balanced, group_accuracies, worst_group


def numbered(strata, by_group=True):
    """Image i is filled with i."""
    images = torch.arange(len(strata), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    strata = torch.tensor(strata)
    return Labelled(images, strata // 2, strata) if by_group else Labelled(images, strata)


@pytest.mark.parametrize("by_group", [True, False])
def test_balanced_takes_as_many_of_each_as_the_smallest_has(by_group):
    data = numbered([0, 3, 0, 0, 1, 2, 2, 1, 1, 3, 0, 3], by_group)
    part = balanced(data)
    strata = part.groups if by_group else part.labels
    assert strata.bincount().tolist() == [2, 2, 2, 2]
    places = part.images[:, 0, 0, 0].long()
    assert (places.diff() > 0).all()
    assert torch.equal(part.labels, data.labels[places])
    assert set(places.tolist()) >= {5, 6}  # all of the smallest


def test_balanced_depends_on_the_seed_alone():
    data = numbered([k % 4 for k in range(200)] + [0] * 50)
    drawn = [balanced(data, seed).images[:, 0, 0, 0].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("strata", "count", "message"),
    [
        ([0, 2, 2], None, r"no images of group 1; per group: \[1, 0, 2\]"),
        ([0, 1, 2], 4, r"no images of group 3; per group: \[1, 1, 1, 0\]"),
        ([0, 1, 4], 4, r"group 4 is not one of the 4: 0 to 3"),
        ([], None, r"no images of group 0; per group: \[\]"),
    ],
)
def test_an_empty_group_is_refused(strata, count, message):
    data = numbered(torch.tensor(strata, dtype=torch.int64).tolist() or [0])
    data = data.take(torch.arange(len(strata)))
    with pytest.raises(ValueError, match=message):
        balanced(data, count=count)


def by_loop(predictions, labels, groups):
    out = {}
    for group in sorted(set(groups.tolist())):
        right = [p == y for p, y, g in zip(predictions, labels, groups, strict=True) if g == group]
        out[group] = 100 * sum(map(int, right)) / len(right)
    return out


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_group_accuracies_equal_a_loop(seed):
    random = torch.Generator().manual_seed(seed)
    labels, predictions = torch.randint(3, (2, 500), generator=random)
    groups = torch.tensor([0, 1, 4, 7])[torch.randint(4, (500,), generator=random)]
    found, expected = (
        group_accuracies(predictions, labels, groups),
        by_loop(predictions, labels, groups),
    )
    assert found == pytest.approx(expected, abs=1e-9)
    assert list(found) == [0, 1, 4, 7]  # the empty ones are left out
    worst = min(expected, key=expected.get)
    assert worst_group(found) == (worst, pytest.approx(expected[worst]))


def test_worst_of_equal_ones_is_the_first_and_a_real_zero_counts():
    accuracies = group_accuracies(
        torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 0]), torch.tensor([2, 1, 1, 3])
    )
    assert accuracies == {1: 50.0, 2: 100.0, 3: 0.0}
    assert worst_group(accuracies) == (3, 0.0)
    assert worst_group({3: 50.0, 1: 50.0}) == (1, 50.0)


def test_worst_of_none_is_refused():
    with pytest.raises(ValueError, match="no group has images"):
        worst_group(group_accuracies(*torch.zeros(3, 0, dtype=torch.int64)))


def test_other_shapes_are_refused():
    zeros = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\[\(3,\), \(2,\), \(3,\)\]"):
        group_accuracies(zeros, zeros[:2], zeros)


def test_accuracies_and_names_are_those_of_wilds(tmp_path, monkeypatch):
    write_waterbirds(tmp_path)
    known = wilds_class("waterbirds")(root_dir=tmp_path)
    monkeypatch.setitem(sys.modules, "torch_scatter", scatter_without_extension())
    labels, place = known.y_array, known.metadata_array[:, 0]
    predictions = torch.randint(2, labels.shape, generator=torch.Generator().manual_seed(5))
    theirs, _ = known.eval(predictions, labels, known.metadata_array)
    ours = group_accuracies(predictions, labels, 2 * labels + place)
    for group, accuracy in ours.items():
        bird, _, scene = GROUPS["waterbirds"][group].split()
        assert 100 * theirs[f"acc_y:{bird}_background:{scene}"] == pytest.approx(accuracy)
    assert 100 * theirs["acc_wg"] == pytest.approx(worst_group(ours)[1])
