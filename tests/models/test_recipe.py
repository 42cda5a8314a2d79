"""Recipes check their values and say which phases they mean."""

import pytest

from surgicalft.models.recipe import Phase, Pretrain


def test_phases():
    assert Pretrain("s", epochs=3).phases() == [Phase("all", 3, 0.2)]
    two = Pretrain("s", epochs=5, learning_rate=1e-4, head_epochs=3, head_learning_rate=1e-2)
    assert two.phases() == [Phase("last", 3, 1e-2), Phase("all", 2, 1e-4)]
    assert Pretrain("s", epochs=2, head_epochs=2).phases() == [Phase("last", 2, 0.2)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"augment": "mixup"}, "augment must be one of .*, not 'mixup'"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"optimizer": "lion"}, "optimizer must be one of"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"epochs": 3, "head_epochs": 4}, "head_epochs must be 0 to 3, not 4"),
    ],
)
def test_wrong_values(wrong, message):
    with pytest.raises(ValueError, match=message):
        Pretrain("stripes", **wrong)
