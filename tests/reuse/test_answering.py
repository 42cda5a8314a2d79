"""Placeholders, layouts, and modules that answer for the time of one call."""

from collections import Counter

import pytest
import torch
from odd import Plain
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze
from surgicalft.reuse import (
    Answering,
    Layout,
    OtherPath,
    Placeholder,
    Plan,
    ValuesNeeded,
    intercepted,
)
from surgicalft.trial import find_plan

PATTERNS = {"a": r"a\.", "b": r"b\.", "c": r"c\."}
X = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def frozen(selection, kind=Plain):
    torch.manual_seed(0)
    model = kind()
    chosen = Blocks.of(model, PATTERNS).select(selection)
    freeze(model.train(), chosen)
    return model, chosen.parameters


def empty(*shape):
    return Layout(shape[1:], torch.float32, tuple(range(len(shape)))).placeholder(
        shape[0], X.device
    )


def test_a_placeholder_has_a_shape_and_no_memory():
    x = empty(5, 8, 1000, 1000, 1000)
    assert x.shape == (5, 8, 1000, 1000, 1000) and x.dtype == torch.float32 and len(x) == 5
    assert x.device == X.device and not x.requires_grad


def test_operations_on_shapes_give_placeholders():
    x = empty(5, 8, 4, 4)
    y = torch.relu(x).flatten(1).view(5, 2, 64).transpose(1, 2) * 2 + 1
    assert isinstance(y, Placeholder) and y.shape == (5, 64, 2)
    weight = torch.rand(3, 8, 3, 3, requires_grad=True)
    assert torch.nn.functional.conv2d(x, weight).shape == (5, 3, 2, 2)
    assert x.relu_() is x and x.to(torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: torch.zeros(5, 8).add_(x),
        lambda x: torch.nonzero(x),
        lambda x: x.tolist(),
        lambda x: torch.equal(x, x),
    ],
)
def test_values_that_are_not_there_are_not_made_up(use):
    with pytest.raises((ValuesNeeded, RuntimeError)):
        use(empty(5, 8))


@pytest.mark.parametrize(
    "value",
    [
        torch.rand(4, 3, 5, 6),
        torch.rand(4, 3, 5, 6).contiguous(memory_format=torch.channels_last),
        torch.rand(4, 7, 6).transpose(1, 2),
        torch.rand(4, 3, 5, 6)[:, 1],
        torch.rand(4, 1, 1).expand(4, 5, 6),
        torch.rand(4),
        torch.randint(0, 9, (4, 3), dtype=torch.uint8),
    ],
)
def test_rows_come_back_with_their_strides(value):
    layout = Layout.of(value)
    rows = layout.as_rows(value).contiguous()
    assert rows.shape == (4, *layout.row)
    back = layout.as_output(rows[torch.tensor([2, 0])])
    assert torch.equal(back, value[[2, 0]])
    if value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last):
        assert back.stride()[1:] == value.stride()[1:]
    assert layout.nbytes == value[0].numel() * value.element_size()


def test_attributes_are_taken_off_again_whatever_happens():
    model = Plain()
    mine = model.a.__dict__["forward"] = model.a.forward
    names = {"a": model.a, "b": model.b}
    with pytest.raises(KeyError), intercepted(names, lambda *_: (_ for _ in ()).throw(KeyError())):
        model(X)
    assert model.a.__dict__["forward"] is mine and "forward" not in model.b.__dict__


def test_calls_are_counted_within_a_pass():
    model, seen = Plain(), []
    with intercepted({"a": model.a}, lambda call, f, args, kwargs: seen.append(call) or f(*args)):
        model.a(X), model.a(X)
    assert seen == [("a", 0), ("a", 1)]


@pytest.mark.parametrize("selection", ["b", "c"])
def test_a_network_that_answers_computes_the_same_bits(selection):
    model, tuned = frozen(selection)
    answering = Answering(model, find_plan(model, tuned, X))
    kept = answering.remember(X)
    model.train()
    expected = model(X)
    calls = Counter()
    model.a.register_forward_pre_hook(lambda *_: calls.update(a=1))
    found = answering(empty(*X.shape), kept)
    assert torch.equal(found, expected) and calls["a"] == 1  # it was called, and answered
    weights = [model.get_parameter(name) for name in tuned]
    for one, other in zip(
        *(torch.autograd.grad(y.square().sum(), weights) for y in (found, expected)), strict=True
    ):
        assert torch.equal(one, other)


def test_another_path_than_in_the_trial_is_an_error_and_no_wrong_number():
    class Moody(Plain):
        skip = False

        def early(self, x):
            return super().early(x) if not self.skip else x.new_zeros(len(x), 8, 6, 6)

    model, tuned = frozen("b", Moody)
    answering = Answering(model, find_plan(model, tuned, X))
    kept = answering.remember(X)
    model.skip = True
    with pytest.raises(OtherPath, match="called"):
        answering(X, kept)
    with pytest.raises(OtherPath, match="not called"):
        answering.remember(X)


def test_what_was_not_kept_is_an_error_and_no_wrong_number():
    class Reader(Plain):
        read = False

        def forward(self, x):
            h = self.a(x)
            y = self.c(torch.relu(self.b(torch.relu(h))).flatten(1))
            return y + h.mean() if self.read else y

    model, tuned = frozen("c", Reader)
    plan = find_plan(model, tuned, X)
    assert plan.kept == (("b", 0, 0),)
    answering = Answering(model, plan)
    kept = answering.remember(X)
    model.read = True
    with pytest.raises(ValuesNeeded):
        answering(empty(*X.shape), kept)


def test_without_a_plan_everything_is_computed():
    model, _ = frozen("b")
    assert torch.equal(Answering(model, Plan(reason="no wish"))(X), model(X))
    assert str(Plan(reason="no wish")) == "everything is computed: no wish"


def test_a_whole_network_of_nothing_that_learns_has_no_plan():
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    freeze(model, Blocks.of(model, {"all of it": "1"}).select("none"))
    plan = find_plan(model, (), X)
    assert not plan and "does not depend on what is tuned" in plan.reason
