"""Inputs that differ are told apart, inputs that do not are not, and labels play no part."""

import pytest
import torch

from surgicalft.shifts.base import Labelled
from surgicalft.shifts.told_apart import told_apart


def noise(n, seed, low=0, high=256):
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(low, high, (n, 3, 16, 16), generator=random, dtype=torch.uint8)
    return Labelled(images, torch.zeros(n, dtype=torch.int64))


def test_the_same_distribution_is_not_told_apart():
    result = told_apart(noise(600, 0), noise(600, 1), count=300)
    assert result.n == 600 and result.error == pytest.approx(50 / 600**0.5)
    assert abs(result.accuracy - 50) < 3 * result.error


@pytest.mark.parametrize("other", [(0, 200), (90, 166)], ids=["darker", "less contrast"])
def test_other_inputs_are(other):
    assert told_apart(noise(400, 0), noise(400, 1, *other)).accuracy > 95


def test_labels_play_no_part():
    data, other = noise(200, 0), noise(200, 1)
    relabelled = Labelled(other.images, other.labels + 1)
    assert told_apart(data, other) == told_apart(data, relabelled)


def test_too_few():
    with pytest.raises(ValueError, match="4 images of each are needed, not 200 and 3"):
        told_apart(noise(200, 0), noise(3, 1))
