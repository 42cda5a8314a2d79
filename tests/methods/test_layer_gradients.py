"""Gradients by layers: every rule against autograd, image by image, and networks that need another way."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from surgicalft.blocks import Selection
from surgicalft.freezing import freeze
from surgicalft.methods.layer_gradients import Unsuitable, find_owners, layer_gradients
from surgicalft.methods.per_input import per_input_gradients

HEAD = (nn.AdaptiveAvgPool2d(2), nn.Flatten())


def convolutional(*layers, channels=8):
    """Layers in the middle of a small network: (n, 3, 6, 6) -> (n, 5)."""
    stem = nn.Conv2d(3, 8, 3, padding=1)
    model = nn.Sequential(stem, *layers, *HEAD, nn.Linear(4 * channels, 5))
    return prepared(model)


def prepared(model):
    """Float64, in eval mode, frozen, its tensors moved away from zeros and ones."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=random) - 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.abs_().add_(0.1)
    return model.double().eval().requires_grad_(False)


def batch(n=4):
    random = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 6, 6, generator=random, dtype=torch.float64)
    return images, torch.randint(0, 5, (n,), generator=random)


def by_autograd(model, images, labels):
    model.requires_grad_(True)
    tensors = list(model.parameters())
    each = [
        torch.autograd.grad(F.cross_entropy(model(x[None]), y[None]), tensors)
        for x, y in zip(images, labels, strict=True)
    ]
    model.requires_grad_(False)
    names = (name for name, _ in model.named_parameters())
    return {name: torch.stack(g) for name, g in zip(names, zip(*each, strict=True), strict=True)}


def names_of(model):
    return [name for name, _ in model.named_parameters()]


class Twice(nn.Module):
    """A layer that is called twice, and whose second output is added to its first in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        x = F.relu(x)
        y = self.conv(x)
        y += x
        return y


LAYERS = {
    "plain": nn.Conv2d(8, 8, 3),
    "without bias": nn.Conv2d(8, 8, 3, bias=False),
    "stride": nn.Conv2d(8, 8, 3, stride=2, padding=1),
    "stride that leaves a rest": nn.Conv2d(8, 8, 2, stride=3),
    "oblong": nn.Conv2d(8, 8, (1, 3), stride=(2, 1), padding=(0, 2)),
    "dilation": nn.Conv2d(8, 8, 3, dilation=2, padding=2),
    "pointwise": nn.Conv2d(8, 8, 1),
    "groups": nn.Conv2d(8, 8, 3, groups=2, padding=1),
    "depthwise": nn.Conv2d(8, 8, 3, groups=8, padding=1),
    "batch norm": nn.BatchNorm2d(8),
    "group norm": nn.GroupNorm(4, 8),
    "rectified in place": nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
    "twice": Twice(),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_rules(kind, channels_last):
    model, (images, labels) = convolutional(LAYERS[kind]), batch()
    if channels_last:
        model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    expected = by_autograd(model, images, labels)
    owners = find_owners(model, names_of(model))
    assert owners is not None
    torch.testing.assert_close(layer_gradients(model, owners, images, labels), expected)


def test_tracking_begins_at_the_first_layer_asked_for():
    model, (images, labels) = convolutional(nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3)), batch()
    names = ["2.bias", "5.weight"]
    expected = by_autograd(model, images, labels)
    owners = find_owners(model, names)
    called = []
    model[0].register_forward_hook(lambda *args: called.append(args[-1].requires_grad))
    found = layer_gradients(model, owners, images, labels)
    torch.testing.assert_close(found, {name: expected[name] for name in names})
    assert called == [False]
    assert not any(layer._forward_hooks for layer in owners)


def test_layers_held_in_evaluation_mode():
    model, (images, labels) = convolutional(nn.BatchNorm2d(8)), batch()
    expected = by_autograd(model, images, labels)
    freeze(model, Selection("last", ("4.weight", "4.bias")))
    model.requires_grad_(False)
    owners = find_owners(model, names_of(model))
    assert owners is not None
    torch.testing.assert_close(layer_gradients(model, owners, images, labels), expected)


class Standardised(nn.Conv2d):
    """Derived from a known layer, but computing otherwise."""

    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias, padding=self.padding)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(F.relu(self.first(x)))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        return self.scale * x


OTHERS = {
    "derived": Standardised(8, 8, 3, padding=1),
    "tied": Tied(),
    "own parameter": Scale(),
    "circular padding": nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
    "padding in words": nn.Conv2d(8, 8, 3, padding="same"),
    "statistics of the batch": nn.BatchNorm2d(8, track_running_stats=False),
    "layer norm": nn.LayerNorm(6),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_layers_are_left_to_torch_func(kind):
    model, (images, labels) = convolutional(OTHERS[kind]), batch()
    names = names_of(model)
    assert find_owners(model, names) is None
    expected = by_autograd(model, images, labels)
    torch.testing.assert_close(per_input_gradients(model, images, labels, names), expected)


class Behind(nn.Module):
    """Calls the layer in a way that hooks don't see, or don't understand."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        if self.how == "by its weights":
            return F.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        if self.how == "by keyword":
            return self.conv(input=x)
        if self.how == "as a larger batch":
            return self.conv(x.repeat(2, 1, 1, 1)).unflatten(0, (2, -1)).sum(0)
        x = 1 * x
        y = self.conv(x)
        return y + x.mul_(2)  # changes the input of the layer


HOWS = ["by its weights", "by keyword", "as a larger batch", "changing its input"]


@pytest.mark.parametrize("how", HOWS)
def test_unsuitable_calls_are_left_to_torch_func(how):
    model, (images, labels) = convolutional(Behind(how)), batch()
    names = names_of(model)
    owners = find_owners(model, names)
    assert owners is not None
    with pytest.raises(Unsuitable):
        layer_gradients(model, owners, images, labels)
    assert not any(layer._forward_hooks for layer in owners)
    if how == "changing its input":  # which no gradient of a weight survives
        return
    expected = by_autograd(model, images, labels)
    torch.testing.assert_close(per_input_gradients(model, images, labels, names), expected)


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(2, 2)

    def forward(self, x):
        return x


def test_tensors_that_do_not_matter_have_zero_gradients():
    model, (images, labels) = convolutional(Idle()), batch()
    found = per_input_gradients(model, images, labels, ["1.idle.weight", "1.idle.bias"])
    assert found["1.idle.weight"].shape == (4, 2, 2) and found["1.idle.bias"].shape == (4, 2)
    assert not any(g.any() for g in found.values())
