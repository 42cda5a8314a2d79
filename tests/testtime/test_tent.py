"""TENT against a plain loop as its authors write it, and what it leaves alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.evaluate import logits as stored_logits
from surgicalft.evaluate import to_float
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.testtime.batch_prior import use_prior
from surgicalft.testtime.entropy import entropy
from surgicalft.testtime.tent import Tent


def network(norm: str = "batch") -> ResNetCifar:
    torch.manual_seed(0)
    return ResNetCifar(8, widths=(8, 8, 8), norm=norm).eval()


def batches(count: int = 3, size: int = 8) -> list[Tensor]:
    """Images that differ in the mean as well."""
    generator = torch.Generator().manual_seed(1)
    colours, noise = torch.rand(2, count, size, 3, 32, 32, generator=generator)
    return list((255 * colours[..., :1, :1] * noise).to(torch.uint8))


def select(model: nn.Module, what: str) -> Selection:
    return Blocks.of(model).select(what)


def tent(
    model: nn.Module, what: str = "norms", rate: float = 0.01, optimizer: str = "adam"
) -> Tent:
    return Tent(model, select(model, what), rate, optimizer)


def plain(model: nn.Module, what: str, rate: float, optimizer: str) -> list[Tensor]:
    """Every layer in training mode, running statistics thrown away, gradients of everything."""
    for module in model.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    parameters = [model.get_parameter(name) for name in select(model, what).parameters]
    kinds = {"adam": torch.optim.Adam, "sgd": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)}
    steps, outputs = kinds[optimizer](parameters, lr=rate), []
    for images in batches():
        outputs.append(model(to_float(images)))
        loss = torch.distributions.Categorical(logits=outputs[-1]).entropy().mean()
        model.zero_grad()
        loss.backward()
        steps.step()
    return [output.detach() for output in outputs]


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize(
    ("what", "rate", "optimizer"),
    [
        ("norms", 0.01, "adam"),
        ("norms", 0.1, "sgd"),
        ("block 1", 0.001, "adam"),
        ("all", 0.001, "adam"),
    ],
)
def test_as_a_plain_loop(norm, what, rate, optimizer):
    expected = plain(network(norm), what, rate, optimizer)
    with torch.no_grad():  # as test loops are written
        adapt = tent(network(norm), what, rate, optimizer)
        outputs = [adapt(images) for images in batches()]
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-4)
    assert not any(output.requires_grad for output in outputs)
    if norm == "group":  # the first batch is predicted before any step, and each image for itself
        torch.testing.assert_close(outputs[0], stored_logits(network(norm), batches()[0]).clone())


@pytest.mark.parametrize("what", ["norms", "block 2"])
def test_only_the_selection_changes(what):
    model = network()
    before = copy.deepcopy(model.state_dict())
    adapt = tent(model, what)
    for images in batches():
        adapt(images)
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(select(model, what).parameters)


def test_predictions_become_certain():
    adapt, [images] = tent(network(), rate=0.1), batches(1, 32)
    means = [entropy(adapt(images)).mean().item() for _ in range(30)]
    assert means == sorted(means, reverse=True) and means[-1] < means[0] / 2


def test_modes_set_from_outside_make_no_difference():
    first, second = (tent(network()) for _ in range(2))
    for images in batches():
        second.network.train()
        expected = first(images)
        assert torch.equal(second(images), expected)
        stored_logits(second.network, images)  # eval and back


class Chancy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn, self.drop, self.fc = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.fc(self.drop(self.bn(x)).mean((2, 3))), 0.5, self.training)


def test_no_chance():
    torch.manual_seed(0)
    model, [images] = Chancy().train(), batches(1)
    chosen = Selection("norms", ("bn.weight", "bn.bias"))
    outputs = [Tent(copy.deepcopy(model), chosen, 0.1)(images) for _ in range(2)]
    assert torch.equal(*outputs)


def test_with_a_prior_statistics_are_mixed():
    model = network()
    use_prior(model, 16)
    x = to_float(batches()[0])
    torch.testing.assert_close(tent(copy.deepcopy(model))(batches()[0]), model(x).detach())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_resumed_to_the_bit(optimizer):
    whole, begun, resumed = (tent(network(), optimizer=optimizer) for _ in range(3))
    first, second, third = batches()
    expected = [whole(images) for images in (first, second, third)][1:]
    begun(first)
    state = begun.state()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    begun(second)
    assert all(torch.equal(state[name], kept[name]) for name in kept)  # not the tensors that learn
    resumed(third)  # whatever it has seen before
    resumed.load_state(state)
    assert all(torch.equal(resumed(x), y) for x, y in zip((second, third), expected, strict=True))
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_reset_goes_back_to_the_start():
    adapt = tent(network(), optimizer="sgd")
    start = adapt.state()
    outputs = [adapt(images) for images in batches()]
    adapt.reset()
    assert adapt.state().keys() == start.keys()
    assert all(torch.equal(value, start[name]) for name, value in adapt.state().items())
    assert all(torch.equal(adapt(x), y) for x, y in zip(batches(), outputs, strict=True))


def test_bad_input():
    model = network()
    with pytest.raises(ValueError, match=r"selection 'none' has no tensors.*conv1.weight"):
        tent(model, "none")
    with pytest.raises(ValueError, match=r"optimizer must be one of .* not 'rmsprop'"):
        tent(model, optimizer="rmsprop")
    adapt, [images] = tent(model), batches(1)
    before = adapt.state()
    for bad, said in [
        (images[:0], "empty"),
        (images[0], r"not \(3, 32, 32\)"),
        (images.to(torch.int64), "not torch.int64"),
        (images.float(), r"not in \[0, 2.."),
        (images.float() / torch.zeros(()), "not finite"),
    ]:
        with pytest.raises(ValueError, match=said):
            adapt(bad)
    assert all(torch.equal(value, before[name]) for name, value in adapt.state().items())
    with pytest.raises(ValueError, match=r"state is of .*'conv1.weight'.*not of \['layer1"):
        adapt.load_state(tent(network(), "all").state())
