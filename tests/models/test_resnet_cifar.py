"""The networks' sizes, and the published checkpoint's accuracy on exact images."""

import pytest
import torch

from surgicalft.evaluate import accuracy
from surgicalft.models.networks import build
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.models.zoo import load_published
from surgicalft.shifts.cifar import load_cifar


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet26_has_the_published_size(norm):
    network = ResNetCifar(26, norm=norm)
    assert sum(value.numel() for value in network.parameters()) == 366_938
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_depth_counts_the_layers_with_weights():
    layers = [m for m in ResNetCifar(20).modules() if hasattr(m, "weight") and m.weight.ndim > 1]
    assert len(layers) == 20


@pytest.mark.parametrize(
    "wrong", [{"depth": 25}, {"depth": 2}, {"norm": "layer"}], ids=["25", "2", "norm"]
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=r"6N\+2|must be one of"):
        ResNetCifar(**wrong)


def test_build_by_name():
    assert build("resnet14-gn-w8", 5, seed=0).fc.weight.shape == (5, 32)
    before = torch.get_rng_state()
    first, again = (build("resnet8-bn", 10, seed=0).conv1.weight for _ in range(2))
    assert torch.equal(first, again) and torch.equal(before, torch.get_rng_state())
    with pytest.raises(ValueError, match=r"unknown network 'vgg16'.*resnet<6N\+2>"):
        build("vgg16", 10, seed=0)


def test_published_checkpoint_on_exact_test_images(real_data):
    """92.1 % on 1,017 exact test images is known; within 2.5 standard errors of that on these 500."""
    network = load_published("memo-resnet26-gn", real_data)
    test = load_cifar("cifar10-lossless", real_data)["test"]
    share = 0.921
    error = 100 * (share * (1 - share) * (1 / 1017 + 1 / len(test))) ** 0.5
    assert abs(accuracy(network, test) - 100 * share) < 2.5 * error
