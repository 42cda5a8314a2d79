"""The random numbers of AugMix follow the laws they should; settings are checked."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision import transforms

from surgicalft.testtime.augmix import KINDS, NONE, AugMix, draw

NAMES = [kind.name for kind in KINDS]


def test_draws_follow_the_known_laws() -> None:
    n = 6000
    draws = draw([3], n, (32, 32), AugMix())
    m = draws.weights[:, 0].double()
    w = draws.weights[:, 1:].double() / (1 - m[:, None])
    assert torch.allclose(draws.weights.sum(1), torch.ones(n))
    assert stats.kstest(m.numpy(), "uniform").pvalue > 0.01
    for one in w.T:  # a share of Dirichlet(1, 1, 1)
        assert stats.kstest(one.numpy(), "beta", (1, 2)).pvalue > 0.01
    first = draws.operations[:, 0, 0]
    share = torch.bincount(first - NONE, minlength=10) / n
    # a number from (0.1, 1) is cut to 0 degrees below 1/3, to 0 pixels below 30/32
    idle = {"rotate": 1 / 3, "translate_x": 30 / 32, "translate_y": 30 / 32}
    kept = torch.tensor([(1 - idle.get(name, 0.1)) / 0.9 for name in NAMES]) / 9
    assert torch.allclose(share[1:], kept, atol=0.015)
    assert draws.flip.float().mean() == pytest.approx(0.5, abs=0.03)
    assert stats.chisquare(torch.bincount(draws.box[:, 0], minlength=9).numpy()).pvalue > 0.01


def test_parameters_at_level_1() -> None:
    draws = draw([0], 6000, (32, 32), AugMix())

    def found(name: str) -> set[float]:
        return set(draws.parameters[draws.operations == NAMES.index(name)].tolist())

    assert found("rotate") == {-2, -1, 1, 2}
    assert found("translate_x") == found("translate_y") == {-1, 1}
    assert found("posterize") == {4}
    assert found("solarize") == set(range(231, 255))
    for name in ("shear_x", "shear_y"):
        sizes = np.abs(list(found(name)))
        assert 0.003 <= sizes.min() < 0.0031 and 0.0299 < sizes.max() <= 0.03


@pytest.mark.parametrize("depth", [1, 3])
def test_chains_have_1_to_depth_operations(depth: int) -> None:
    operations = draw([0], 3000, (32, 32), AugMix(level=10.0, depth=depth)).operations
    ends = (operations != NONE).flip(2).int().argmax(2)
    lengths = torch.bincount((depth - ends).flatten())[1:] / ends.numel()
    assert torch.allclose(lengths, torch.full((depth,), 1 / depth), atol=0.03)


def test_boxes_are_torchvisions() -> None:
    size, n = (40, 64), 3000
    boxes = draw([0], n, size, AugMix(crop="resized")).box
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.empty(3, *size)
        limits = [0.08, 1.0], [3 / 4, 4 / 3]
        theirs = [transforms.RandomResizedCrop.get_params(image, *limits) for _ in range(n)]
    for one, other in zip(boxes.T.numpy(), np.array(theirs).T, strict=True):
        assert stats.ks_2samp(one, other, method="asymp").pvalue > 0.01


@pytest.mark.parametrize("size", [(4, 400), (400, 4)], ids=str)
def test_box_that_never_fits(size: tuple[int, int]) -> None:
    boxes = draw([0], 4, size, AugMix(crop="resized")).box
    expected = transforms.RandomResizedCrop.get_params(
        torch.empty(3, *size), [0.08, 1.0], [3 / 4, 4 / 3]
    )
    assert boxes.tolist() == [list(expected)] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": "centre"}, r"crop must be one of \['padded', 'resized', 'none'\], not 'centre'"),
        ({"level": 0.1}, "more than 0.1 and at most 10, not 0.1"),
        ({"level": 10.5}, "not 10.5"),
        ({"level": float("nan")}, "not nan"),
        ({"width": 0}, "width must be an integer, 1 or more, not 0"),
        ({"depth": 1.5}, "depth must be an integer, 1 or more, not 1.5"),
        ({"padding": -1}, "padding must be an integer, 0 or more, not -1"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugMix(**settings)  # type: ignore[arg-type]
