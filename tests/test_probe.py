"""Gradients at the present weights."""

import pytest
import torch
import torch.nn.functional as F

from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.probe import Probe
from surgicalft.shifts.base import Labelled


@pytest.fixture
def tune():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 16, 16), generator=random, dtype=torch.uint8)
    return Labelled(images, torch.randint(0, 4, (40,), generator=random))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ResNetCifar(8, widths=(8, 8, 16), classes=4).train()


NAMES = ("conv1.weight", "bn.bias", "fc.weight")


def test_one_batch_of_all_images_is_the_gradient_of_the_mean_loss(network, tune):
    seen = []
    (found,) = Probe(network, NAMES, tune, 64, 0, seen=seen.append).gradients(5)
    network.eval()
    loss = F.cross_entropy(network(tune.images / 255), tune.labels)
    parameters = dict(network.named_parameters())
    expected = torch.autograd.grad(loss, [parameters[name] for name in NAMES])
    for name, value in zip(NAMES, expected, strict=True):
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    assert seen == [40]


def test_batches_are_disjoint_and_drawn_by_epoch(network, tune):
    probe = Probe(network, NAMES, tune, 16, 0)
    assert [len(labels) for _, labels in probe._batches(5)] == [16, 16, 8]
    first = next(probe._batches(1))[0]
    assert torch.equal(first, next(probe._batches(1))[0])
    probe.epoch = 1
    assert not torch.equal(first, next(probe._batches(1))[0])
    assert len(probe.gradients(2)) == 2


def test_flags_modes_and_statistics_stay(network, tune):
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name == "fc.weight")
    statistics = network.bn.running_mean.clone()
    Probe(network, NAMES, tune, 16, 0).gradients(2)
    assert [n for n, p in network.named_parameters() if p.requires_grad] == ["fc.weight"]
    assert network.training and torch.equal(network.bn.running_mean, statistics)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_tensor_that_the_loss_does_not_use_has_gradient_zero(network, tune):
    network.unused = torch.nn.Parameter(torch.ones(3))
    (found,) = Probe(network, ("unused",), tune, 64, 0).gradients(1)
    assert torch.equal(found["unused"], torch.zeros(3))
