"""A folded network computes the same, with fewer operations, and leaves the layers it came from alone."""

import copy

import pytest
import torch
from torch import fx, nn

from surgicalft.fold import fold
from surgicalft.models.resnet_cifar import ResNetCifar

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def network(norm):
    torch.manual_seed(0)
    model = ResNetCifar(14, widths=(8, 16, 32), norm=norm)
    model(IMAGES)  # statistics other than 0 and 1
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    return model.eval()


@pytest.mark.parametrize("norm", ["batch", "group"])
@torch.no_grad()
def test_same_outputs_and_the_original_untouched(norm):
    model = network(norm)
    before, expected = copy.deepcopy(model.state_dict()), model(IMAGES)
    folded = fold(fx.symbolic_trace(model))
    for _ in range(2):  # nothing may be overwritten that a second call needs
        torch.testing.assert_close(folded(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(model(IMAGES), expected)


def test_every_normalisation_behind_a_convolution_is_gone():
    folded = fold(fx.symbolic_trace(network("batch")))
    norms = [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6 + 1  # of each block the first, which others read beside, and the last
    assert folded.code.count("inplace = True") == 14 - 1


def test_batch_statistics_are_not_folded():
    model = network("batch").train()
    folded = fold(fx.symbolic_trace(model))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 13


class Twice(nn.Module):
    """Its convolution and its normalisation have other readers."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        x = self.conv(images)
        y = self.bn(x)
        return torch.relu(x) + nn.functional.relu(y) + y + nn.functional.relu(images)


@torch.no_grad()
def test_what_others_read_is_left_alone():
    model = Twice().eval()
    images = IMAGES - 0.5
    kept = images.clone()
    folded = fold(fx.symbolic_trace(model))
    torch.testing.assert_close(folded(images), model(images))
    assert torch.equal(images, kept) and "inplace = True" not in folded.code
