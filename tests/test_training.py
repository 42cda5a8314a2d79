"""Methods in the loop: against a slow reference, and what may and may not change."""

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from small import network, small_splits

from surgicalft.blocks import Blocks
from surgicalft.cost import costs_of
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.methods import METHODS, Method, Plan, make_method
from surgicalft.seeds import generator

SETTINGS = FineTune(learning_rate=1e-2, epochs=4, batch_size=16)


@pytest.fixture(scope="module")
def splits():
    return small_splits()


def tune(model, method, splits, settings=SETTINGS, selection="all", **more):
    chosen = Blocks.of(model).select(selection)
    return fine_tune(model, chosen, splits, settings, method=method, **more)


@dataclass(frozen=True)
class Scripted(Method):
    """What learns in which epoch is written down beforehand."""

    plans: tuple[dict[str, float], ...] = ()
    reset: bool = False
    fixed: ClassVar[bool] = False

    def plan(self, now):
        return Plan(self.plans[now.epoch], self.reset)


FIRST, MIDDLE, LAST = "conv1.weight", "layer2.0.conv1.weight", "fc.weight"
PLANS = (  # the front learns, rests, and learns again at another share; the cut may not move behind it
    {LAST: 1.0},
    {MIDDLE: 0.5, LAST: 1.0},
    {FIRST: 0.25, LAST: 2.0},
    {MIDDLE: 1.0},
)


def reference(model, plans, splits, settings, reset):
    """The plain loop: one optimiser, every image through the whole network, gradients of everything."""
    model.eval().to(memory_format=torch.channels_last)
    parameters = dict(model.named_parameters())
    groups = [{"params": [value]} for value in parameters.values()]
    optimizer = torch.optim.Adam(groups, settings.learning_rate, weight_decay=1e-4)
    best = (-math.inf, -math.inf)
    for epoch, plan in enumerate(plans):
        if reset:
            optimizer.state.clear()
        for name, group in zip(parameters, optimizer.param_groups, strict=True):
            group["lr"] = settings.learning_rate * plan.get(name, 0.0)
        order = torch.randperm(40, generator=generator("order", settings.seed, epoch))
        for index in order.split(settings.batch_size):
            images = (splits.tune.images[index] / 255).to(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(images), splits.tune.labels[index])
            model.zero_grad()
            loss.backward()
            for name, parameter in parameters.items():
                if name not in plan:
                    parameter.grad = None
            optimizer.step()
        with torch.no_grad():
            outputs = model(splits.valid.images / 255)
        accuracy = 100 * (outputs.argmax(1) == splits.valid.labels).double().mean().item()
        rank = (accuracy, -F.cross_entropy(outputs, splits.valid.labels).item())
        if rank > best:
            best, chosen, state = rank, epoch + 1, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    return chosen


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("reuse", [True, False])
def test_changing_plans_equal_the_slow_reference(splits, norm, reset, reuse):
    fast, slow = network(norm), network(norm)
    tuned = tune(fast, Scripted(plans=PLANS, reset=reset), splits, reuse=reuse)
    assert tuned.epoch == reference(slow, PLANS, splits, SETTINGS, reset)
    for name, value in fast.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    with torch.no_grad():
        correct = slow(splits.test.images / 255).argmax(1) == splits.test.labels
    assert tuned.test_accuracy == pytest.approx(100 * correct.double().mean().item())


def test_what_learns_after_the_best_epoch_goes_back_to_its_start(splits):
    """Else a chosen epoch would carry weights of a later one."""
    plans = ({LAST: 1.0}, {FIRST: 1e6}, {FIRST: 1e6}, {FIRST: 1e6})  # such steps ruin the network
    model = network()
    before = model.conv1.weight.clone()
    tuned = tune(model, Scripted(plans=plans), splits)
    assert tuned.epoch == 1
    assert torch.equal(model.conv1.weight, before)
    again = tune(network(), Scripted(plans=plans[:1]), splits, FineTune(1e-2, 1, 16))
    assert again.test_accuracy == tuned.test_accuracy


def test_what_no_plan_names_stays_bit_identical(splits):
    model, start = network(), network().state_dict()
    tune(model, Scripted(plans=PLANS), splits)
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, start[n])}
    assert changed <= {FIRST, MIDDLE, LAST} and LAST in changed


def test_an_epoch_in_which_everything_is_frozen_changes_nothing(splits):
    tuned = tune(network(), Scripted(plans=({LAST: 1.0}, {}, {}, {LAST: 1.0})), splits)
    losses = [entry["valid_loss"] for entry in tuned.history]
    assert losses[0] == losses[1] == losses[2] != losses[3]
    assert tuned.history[1]["rates"] == [0.0] * len(Blocks.of(network()).select("all").parameters)


def test_shares_multiply_the_scheduled_rate(splits, monkeypatch):
    rates = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD,
        "step",
        lambda self, *a: (rates.append([g["lr"] for g in self.param_groups]), step(self, *a))[1],
    )
    how = FineTune(1.0, 2, 40, optimizer="sgd", schedule="cosine")  # one step an epoch
    plans = ({FIRST: 0.5, LAST: 1.0}, {FIRST: 0.25})
    model = network()
    tune(model, Scripted(plans=plans), splits, how)
    order = Blocks.of(model).select("all").parameters
    first, last = order.index(FIRST), order.index(LAST)
    assert [rate[first] for rate in rates] == pytest.approx(
        [0.5, 0.25 / 2]
    )  # half a cosine's middle
    assert [rate[last] for rate in rates] == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_tunes_within_its_selection_and_says_what_it_cost(splits, name):
    model, start = network("group"), network("group").state_dict()
    costs = costs_of(network("group"), splits.tune.images)
    tuned = tune(model, make_method(name), splits, selection="block 2:last", costs=costs)
    within = set(Blocks.of(model).select("block 2:last").parameters)
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, start[n])}
    assert changed and changed <= within
    assert len(tuned.history) == 4 and tuned.epoch >= 1
    full = tune(network("group"), make_method("surgical"), splits, costs=costs)
    assert 0 < tuned.metrics["forward_passes"] < 2 * full.metrics["forward_passes"]


def test_without_costs_none_are_counted(splits):
    assert tune(network(), make_method("surgical"), splits).metrics == {}


def test_untuned_costs_one_look_at_each_image(splits):
    costs = costs_of(network(), splits.tune.images)
    tuned = tune(network(), make_method("surgical"), splits, selection="none", costs=costs)
    assert tuned.metrics["forward_passes"] <= 40 + 24
