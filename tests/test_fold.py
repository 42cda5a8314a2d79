"""A folded network has the same outputs and gradients, from fewer operations, and changes no layer of its own."""

import copy

import pytest
import timm
import torch
from torch import fx, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.fold import Folded, fold
from surgicalft.freezing import NORM_POLICIES, freeze, trainable
from surgicalft.models.resnet_cifar import ResNetCifar

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def network(norm):
    torch.manual_seed(0)
    return shaken(ResNetCifar(14, widths=(8, 16, 32), norm=norm))


def shaken(model):
    """With statistics and affine parameters other than 0 and 1."""
    model.train()(IMAGES)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    return model.eval()


def frozen(model, selection, policy="eval"):
    chosen = Blocks.of(model).select(selection) if isinstance(selection, str) else selection
    freeze(model, chosen, policy)
    return model


def folded_layers(module):
    return [name for name, layer in module.named_modules() if isinstance(layer, Folded)]


@pytest.mark.parametrize("norm", ["batch", "group"])
@torch.no_grad()
def test_same_outputs_and_the_original_untouched(norm):
    model = frozen(network(norm), "none")
    before, expected = copy.deepcopy(model.state_dict()), model(IMAGES)
    folded = fold(fx.symbolic_trace(model))
    for _ in range(2):  # nothing may be overwritten that a second call needs
        torch.testing.assert_close(folded(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(model(IMAGES), expected)


def test_every_normalisation_behind_a_convolution_is_folded():
    folded = fold(fx.symbolic_trace(frozen(network("batch"), "none")))
    # of each block the second; the first, which others read beside, and the last stay
    assert len(folded_layers(folded)) == 6
    assert folded.code.count("bn2") == 0 and folded.code.count("bn1") > 0
    assert folded.code.count("inplace = True") == 14 - 1


def test_batch_statistics_are_not_folded():
    """Nor are those of a layer that is in evaluation mode only for the time being."""
    model = network("batch")
    assert not folded_layers(fold(fx.symbolic_trace(model)))
    assert not folded_layers(fold(fx.symbolic_trace(frozen(model, "all", "tuned"))))
    assert not folded_layers(fold(fx.symbolic_trace(frozen(model, "all", "train"))))
    tuned = folded_layers(fold(fx.symbolic_trace(frozen(model, "block 2", "tuned"))))
    assert tuned == [f"folded_layer{i}_{j}_conv1" for i in (1, 3) for j in (0, 1)]


def gradients(model, module):
    """The output in training mode, and the gradients of what `model` tunes."""
    module.train()
    output = module(IMAGES)
    loss = nn.functional.cross_entropy(output, torch.arange(4))
    return output, torch.autograd.grad(loss, trainable(model))


def equal_training(model):
    """Same outputs and gradients to rounding, before and after a step; returns the folded network."""
    plain = copy.deepcopy(model)
    folded = fold(fx.symbolic_trace(model))
    for _ in range(2):
        (got, got_slopes), (expected, slopes) = gradients(model, folded), gradients(plain, plain)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        for one, other in zip(got_slopes, slopes, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())
        for twin in (model, plain):
            step(twin, slopes)
    return folded


@torch.no_grad()
def step(model, slopes):
    for parameter, slope in zip(trainable(model), slopes, strict=True):
        parameter -= 0.1 * slope / slope.norm()


@pytest.mark.parametrize("policy", NORM_POLICIES)
@pytest.mark.parametrize("selection", ["all", "block 1", "block 2", "last"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_same_gradients_and_what_learns_is_shared(norm, selection, policy):
    equal_training(frozen(network(norm), selection, policy))


@pytest.mark.parametrize("selection", ["all", "tensors:layer2.0.bn1.bias,layer2.0.conv1.weight"])
def test_same_gradients_in_a_published_architecture(selection):
    torch.manual_seed(0)
    model = shaken(timm.create_model("resnet18", num_classes=4))
    assert len(folded_layers(equal_training(frozen(model, selection)))) == 20  # all that it has


class Odd(nn.Module):
    """Bias, groups, a stride, circular padding, a normalisation without affine parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding="valid", groups=3)
        self.bn = nn.BatchNorm2d(6, affine=False)
        self.ring = nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular")
        self.bn2 = nn.BatchNorm2d(4)

    def forward(self, images):
        x = self.bn2(self.ring(self.bn(self.conv(images))))
        return nn.functional.relu(x).mean((2, 3))


def test_same_gradients_for_unusual_layers():
    torch.manual_seed(0)
    model = Odd()
    for layer in (model.bn, model.bn2):
        nn.init.uniform_(layer.running_mean), nn.init.uniform_(layer.running_var)
    folded = equal_training(
        frozen(model, Selection("tensors", ("conv.weight", "conv.bias", "bn2.weight")))
    )
    assert folded_layers(folded) == ["folded_conv"]  # not the one that pads by other values


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
    model = frozen(Twice(), Selection("norm", ("bn.weight",))).eval()
    images = IMAGES - 0.5
    kept = images.clone()
    folded = fold(fx.symbolic_trace(model))
    torch.testing.assert_close(folded(images), model(images))
    assert (
        torch.equal(images, kept)
        and not folded_layers(folded)
        and "inplace = True" not in folded.code
    )
