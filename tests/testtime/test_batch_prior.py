"""Statistics between the stored ones and the batch's, against the formula and what is known at its ends."""

import copy

import pytest
import torch
from torch import Tensor, nn

from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze, unfreeze
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.reuse import Answering
from surgicalft.testtime.batch_prior import PriorNorm, use_prior
from surgicalft.trial import Conditions, find_plan

SHAPES = {nn.BatchNorm1d: (6, 4), nn.BatchNorm2d: (3, 4, 5, 2)}


def layer(kind: type = nn.BatchNorm2d, **options) -> nn.Module:
    """A layer with parameters and statistics that are not those it starts with."""
    torch.manual_seed(0)
    norm = kind(4, **options)
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    return norm


def with_prior(norm: nn.Module, prior: int) -> nn.Module:
    model = nn.Sequential(copy.deepcopy(norm))
    use_prior(model, prior)
    return model


def images(kind: type = nn.BatchNorm2d) -> Tensor:
    return 3 * torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(1)) + 1


def by_hand(norm: nn.Module, x: Tensor, prior: int, constant: bool = True) -> Tensor:
    """The formula, channel by channel."""
    r, out = prior / (prior + 1), []
    for k in range(x.shape[1]):
        values = x[:, k].detach() if constant else x[:, k]
        mean = r * norm.running_mean[k] + (1 - r) * values.mean()
        var = r * norm.running_var[k] + (1 - r) * values.var(correction=1)
        y = (x[:, k] - mean) / (var + norm.eps) ** 0.5
        out.append(y * norm.weight[k] + norm.bias[k] if norm.affine else y)
    return torch.stack(out, 1)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("prior", [0, 1, 16])
@pytest.mark.parametrize("affine", [True, False])
def test_the_formula(kind, prior, affine):
    norm, x = layer(kind, affine=affine, eps=0.1), images(kind)
    model = with_prior(norm, prior)
    expected = by_hand(norm, x, prior)
    torch.testing.assert_close(model.train()(x), expected)
    torch.testing.assert_close(model.eval()(x), expected)
    one = x[:1] if x.ndim == 4 else x[:2]
    torch.testing.assert_close(model(one), by_hand(norm, one, prior))


def test_both_ends():
    norm, x = layer(), images()
    torch.testing.assert_close(with_prior(norm, 10**9)(x), norm.eval()(x))
    spread = with_prior(layer(affine=False, eps=1e-12), 0)(x).var((0, 2, 3), correction=1)
    torch.testing.assert_close(spread, torch.ones(4))


def test_gradients_take_statistics_for_constants():
    norm, x = layer(), images().requires_grad_()
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    got = torch.autograd.grad((with_prior(norm, 2)(x) * weights).sum(), x)[0]
    constant, through = (
        torch.autograd.grad((by_hand(norm, x, 2, constant) * weights).sum(), x)[0]
        for constant in (True, False)
    )
    torch.testing.assert_close(got, constant)
    assert (got - through).abs().max() > 0.01


def network(seed: int = 0) -> ResNetCifar:
    torch.manual_seed(seed)
    model = ResNetCifar(8, widths=(8, 8, 8)).eval()
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return model


def coloured() -> Tensor:
    """Images (4, 3, 32, 32) that differ in the mean as well."""
    generator = torch.Generator().manual_seed(1)
    colours, noise = torch.rand(2, 4, 3, 32, 32, generator=generator)
    return colours[..., :1, :1] * noise


def test_parameters_and_buffers_stay_what_and_where_they_were():
    model = network()
    before, parameters = model.state_dict(keep_vars=True), dict(model.named_parameters())
    norms = Blocks.of(model).select("norms")
    use_prior(model, 16)
    after = model.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert all(dict(model.named_parameters())[name] is p for name, p in parameters.items())
    assert Blocks.of(model).select("norms") == norms
    model.load_state_dict(network(1).state_dict())


def test_stored_statistics_stay_and_modes_make_no_difference():
    model, x = network(), coloured()
    plain = model(x)
    use_prior(model, 16)
    stored = {name: buffer.clone() for name, buffer in model.named_buffers()}
    outputs = [model.train()(x), model.eval()(x), copy.deepcopy(model)(x)]
    freeze(model, Blocks.of(model).select("block 2"))
    outputs += [model(x), copy.deepcopy(model).train()(x)]
    unfreeze(model)
    outputs.append(model(x))
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    assert all(torch.equal(buffer, stored[name]) for name, buffer in model.named_buffers())
    assert (outputs[0] - plain).abs().max() > 0.001
    assert (model(x[:1]) - outputs[0][:1]).abs().max() > 0.0001  # it depends on the others


def test_layers_that_were_held_before_are_replaced_too():
    model, x = network(), coloured()
    held = copy.deepcopy(model)
    freeze(held, Blocks.of(held).select("none"))
    use_prior(held, 3), use_prior(model, 3)
    assert torch.equal(held(x), model(x))


@pytest.mark.parametrize("selection", ["first_layer", "block 2", "last"])
def test_for_a_batch_that_stays_together_frozen_layers_answer_from_memory(selection):
    """In another batch they would be others: there nothing behind the first of these layers may answer."""
    model, x = network(), coloured()
    use_prior(model, 16)
    chosen = Blocks.of(model).select(selection)
    freeze(model, chosen)
    model.eval()
    together = Conditions(training=False, rows=False)
    plan = find_plan(model, chosen.parameters, x, together)
    assert bool(plan) == (selection != "first_layer")
    alone = find_plan(model, chosen.parameters, x, Conditions(training=False))
    assert ("layer1", 0) not in alone.outputs
    answering = Answering(model, plan)
    output = answering(x, answering.remember(x))
    torch.testing.assert_close(output, model(x))
    tuned = [model.get_parameter(name) for name in chosen.parameters]
    gradients = [torch.autograd.grad(out.square().sum(), tuned) for out in (output, model(x))]
    torch.testing.assert_close(*gradients)


def test_a_layer_used_twice_is_one_layer_still():
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(norm, nn.ReLU(), norm)
    use_prior(model, 1)
    assert isinstance(model[0], PriorNorm) and model[0] is model[2]


class Activated(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


def test_what_cannot_have_a_prior():
    with pytest.raises(ValueError, match="prior must be 0 or more, not -1"):
        use_prior(network(), -1)
    for model in (
        ResNetCifar(8, norm="group"),
        nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)),
        nn.BatchNorm2d(4),
    ):
        with pytest.raises(
            ValueError, match=f"{type(model).__name__} has no BatchNorm1d or BatchNorm2d"
        ):
            use_prior(model, 16)
    model = nn.Sequential(nn.BatchNorm2d(4), Activated(4))
    with pytest.raises(ValueError, match="Activated does more than BatchNorm"):
        use_prior(model, 16)
    assert type(model[0]) is nn.BatchNorm2d  # nothing was replaced
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        with_prior(layer(nn.BatchNorm1d), 16)(torch.zeros(1, 4))
