"""Gradients of single inputs: against one backward pass per image, on every kind of network; moments; memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze
from surgicalft.methods import per_input
from surgicalft.methods.per_input import Moments, gradient_moments, per_input_gradients
from surgicalft.models.networks import build

SMALL = (
    "resnet8-bn",
    "resnet8-gn-w8",
    "clip-vit-tiny",
    "timm/test_vit",
    "timm/test_efficientnet",
)
LARGE = (
    "resnet26-bn",
    "resnet26-gn",
    "clip-vit-tiny-gelu-grouped",
    "resnet50",
    "rvt-small",
    "timm/resnet10t",
    "timm/vit_tiny_patch16_224",
)
CHANNELS_LAST = (False, True)


def network(name, dtype=torch.float64, channels_last=False):
    """Its tensors moved away from where they begin, many of which are 0 or 1."""
    model = build(name, 10, seed=0).to(dtype)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor += 0.2 * torch.rand(tensor.shape, generator=random, dtype=dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(memory_format=layout)


def batch(n=5, dtype=torch.float64, channels_last=False, size=32):
    random = torch.Generator().manual_seed(2)
    images = torch.rand(n, 3, size, size, generator=random, dtype=dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(memory_format=layout), torch.randint(0, 10, (n,), generator=random)


def names_of(model):
    return [name for name, _ in model.named_parameters()]


def loop(model, images, labels, names):
    """The reference: forward and backward for each image alone."""
    model.eval()
    known = dict(model.named_parameters())
    tensors = [known[name] for name in names]
    each = []
    for image, label in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(image[None]), label[None])
        each.append(torch.autograd.grad(loss, tensors, materialize_grads=True))
    return {name: torch.stack(g) for name, g in zip(names, zip(*each, strict=True), strict=True)}


def assert_close(found, expected, tolerance, floor=0.0):
    """To `tolerance` times the tensor's largest entry, or times `floor` where that is more."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        bound = tolerance * max(floor, value.abs().max().item())
        assert (found[name] - value).abs().max().item() <= bound, name


def check(name, channels_last, n=3, dtype=torch.float64, tolerance=1e-12, floor=0.0):
    model = network(name, dtype, channels_last)
    images, labels = batch(n, dtype, channels_last)
    names = names_of(model)
    found = per_input_gradients(model, images, labels, names, chunk=2)
    assert_close(found, loop(model, images, labels, names), tolerance, floor)


@pytest.mark.parametrize("channels_last", CHANNELS_LAST)
@pytest.mark.parametrize("name", SMALL)
def test_equals_the_loop(name, channels_last):
    """In float64, to 1e-12 of each tensor's largest entry."""
    check(name, channels_last)


@pytest.mark.parametrize("name", SMALL)
def test_equals_the_loop_in_single_precision(name):
    """To 1e-6, absolute, or of the tensor's largest entry where that is above 1."""
    check(name, channels_last=True, dtype=torch.float32, tolerance=1e-6, floor=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_networks_equal_the_loop(name):
    check(name, channels_last=True, n=2)


@pytest.mark.parametrize("name", ["resnet8-bn", "resnet8-gn-w8"])
def test_torch_func_gives_what_layers_give(name, monkeypatch):
    """Networks of convolutions take the way by layers; the general way leads to the same."""
    model, (images, labels) = network(name), batch()
    names = names_of(model)
    assert per_input.find_owners(model, names)
    by_layers = per_input_gradients(model, images, labels, names)
    monkeypatch.setattr(per_input, "find_owners", lambda *_: None)
    assert_close(per_input_gradients(model, images, labels, names), by_layers, 1e-12)


@pytest.mark.parametrize("name", ["resnet8-bn", "clip-vit-tiny"])
def test_some_tensors_only(name):
    model, (images, labels) = network(name), batch()
    names = names_of(model)[3:9:2]
    found = per_input_gradients(model, images, labels, names)
    assert_close(found, loop(model, images, labels, names), 1e-12)


@pytest.mark.parametrize("name", ["resnet8-bn", "clip-vit-tiny"])
def test_chunks_and_threads_do_not_matter(name):
    model, (images, labels) = network(name), batch(4)
    names = names_of(model)
    whole = per_input_gradients(model, images, labels, names, chunk=4)
    threads = torch.get_num_threads()
    try:
        for count, chunk in ((1, 2), (2, 2), (3, 100)):
            torch.set_num_threads(count)
            found = per_input_gradients(model, images, labels, names, chunk)
            assert_close(found, whole, 1e-12)
            again = per_input_gradients(model, images, labels, names, chunk)
            assert all(torch.equal(again[n], found[n]) for n in names)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["resnet8-bn", "clip-vit-tiny"])
def test_the_model_stays_as_it_is(name):
    model, (images, labels) = network(name), batch(3)
    names = names_of(model)
    freeze(model, Blocks.of(model).select("block 2"))
    model.train()
    next(model.children()).eval()  # modes may be mixed
    model.get_parameter(names[-1]).grad = torch.ones_like(model.get_parameter(names[-1]))
    modules = list(model.modules())

    def state():
        flags = [p.requires_grad for p in model.parameters()]
        modes = [module.training for module in modules]
        hooks = [len(module._forward_hooks) for module in modules]
        return flags, modes, hooks, [p.grad is None for p in model.parameters()]

    before, values = state(), {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        found = per_input_gradients(model, images, labels, names)
    assert before == state()
    assert all(torch.equal(v, values[k]) for k, v in model.state_dict().items())
    assert not any(g.requires_grad for g in found.values())
    assert_close(found, loop(model.requires_grad_(True), images, labels, names), 1e-12)


@pytest.mark.parametrize("name", ["resnet8-gn-w8", "clip-vit-tiny"])
def test_moments(name):
    model, (images, labels) = network(name), batch(7)
    names = names_of(model)
    each = loop(model, images, labels, names)
    for chunk in (1, 3, None):
        found = gradient_moments(model, images, labels, names, chunk)
        assert {m.count for m in found.values()} == {7}
        assert_close({n: m.mean for n, m in found.items()}, mean_of(each), 1e-12)
        variance = {n: g.var(0) for n, g in each.items()}  # ddof = 1
        assert_close({n: m.variance for n, m in found.items()}, variance, 1e-12)


def mean_of(each):
    return {name: gradients.mean(0) for name, gradients in each.items()}


def test_moments_of_one_input():
    model, (images, labels) = network("resnet8-bn"), batch(1)
    found = gradient_moments(model, images, labels, ["fc.weight"])["fc.weight"]
    each = per_input_gradients(model, images, labels, ["fc.weight"])["fc.weight"]
    assert isinstance(found, Moments) and found.count == 1
    assert torch.equal(found.mean, each[0]) and not found.variance.any()


def test_variance_of_large_equal_gradients_is_small():
    """What a sum of squares would lose: mean 1e4, standard deviation 1, float32."""
    total = per_input._Total(torch.zeros(1000))
    values = 1e4 + torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))
    for part in values.split(5):
        total.add(part)
    expected = values.double().var(0)
    torch.testing.assert_close(total.moments().variance.double(), expected, rtol=1e-3, atol=0)


def peak(function):
    """The largest number of bytes that `function` held at a time, by the profiler's list of allocations."""
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profiler:
        function()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = torch.tensor([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(held.cumsum(0).max())


@pytest.mark.parametrize("way", ["layers", "torch.func"])
def test_peak_memory(way, monkeypatch):
    """Within chunk (P + p) + 2 P + 4 p scalars and the activations, for any number of images."""
    if way == "torch.func":
        monkeypatch.setattr(per_input, "find_owners", lambda *_: None)
    layers = (nn.Linear(192, 300), nn.ReLU(), nn.Linear(300, 300), nn.Linear(300, 300))
    model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(300, 10))
    names, chunk = names_of(model), 4
    sizes = [p.numel() for p in model.parameters()]
    activations = (
        20 * chunk * sum((192, 4 * 300, 10))
    )  # in and out of each layer, both ways, and to spare
    bound = 4 * (chunk * (sum(sizes) + max(sizes)) + 2 * sum(sizes) + 4 * max(sizes) + activations)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler sees one
    try:
        for n in (8, 24):
            images, labels = batch(n, torch.float32, size=8)
            found = peak(lambda: gradient_moments(model, images, labels, names, chunk))  # noqa: B023
            assert 4 * (chunk + 2) * sum(sizes) < found <= bound
        everything = peak(lambda: per_input_gradients(model, images, labels, names, chunk))
        assert everything > 2 * bound
    finally:
        torch.set_num_threads(threads)


def test_bad_arguments():
    model, (images, labels) = network("resnet8-bn"), batch(3)
    with pytest.raises(ValueError, match=r"ResNetCifar has no parameters \['x'\]; it has \['conv1"):
        per_input_gradients(model, images, labels, ["x"])
    with pytest.raises(ValueError, match=r"not \(\(3, 3, 32, 32\), \(2,\)\)"):
        per_input_gradients(model, images, labels[:2], ["fc.bias"])
    with pytest.raises(ValueError, match=r"n >= 1 are needed, not \(\(0, 3"):
        gradient_moments(model, images[:0], labels[:0], ["fc.bias"])
    with pytest.raises(ValueError, match="chunk must be 1 or more, not 0"):
        gradient_moments(model, images, labels, ["fc.bias"], chunk=0)
