"""Targets like their source: the pool of its other scenarios, unchanged."""

import pytest
import torch

from surgicalft.shifts import clean, get_scenario, load_source, split_target
from surgicalft.shifts.cifar_copies import COPIES
from surgicalft.shifts.labels import flip_labels


def test_glyphs_are_those_that_other_scenarios_change():
    scenario = get_scenario("glyphs-clean")
    assert (scenario.name, scenario.kind, scenario.source) == ("glyphs-clean", clean.KIND, "glyphs")
    target, flipped = scenario.load(None), get_scenario("glyphs-flip").load(None)
    assert torch.equal(target.pool.images, flipped.pool.images)
    assert torch.equal(flip_labels(target.pool.labels, 10), flipped.pool.labels)
    assert (target.classes, target.provenance) == (10, "embedded")
    train = load_source("glyphs").train.images[:500].flatten(1)
    both = torch.cat([train, target.pool.images[:500].flatten(1)])
    assert len(both.unique(dim=0)) == 1000, "the target shows no image that was trained on"
    splits = split_target(target.pool, 40, 20, seed=0)
    assert [len(splits.tune), len(splits.valid)] == [40, 20]


@pytest.mark.parametrize("name", COPIES)
def test_every_copy_of_cifar_has_one(name):
    scenario = get_scenario(f"{name}-clean")
    assert (scenario.name, scenario.kind, scenario.source) == (f"{name}-clean", clean.KIND, name)
    with pytest.raises(ValueError, match="takes no options"):
        get_scenario(f"{name}-clean/5")


def test_real_images_are_the_test_images(real_data):
    target = get_scenario("cifar10-lossless-clean").load(real_data)
    test = load_source("cifar10-lossless", real_data).test
    assert torch.equal(target.pool.images, test.images)
    assert torch.equal(target.pool.labels, test.labels)
    assert "exact pixels), unchanged" in target.provenance
