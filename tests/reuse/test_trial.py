"""What a trial finds, refuses, and leaves as it was."""

import random
from collections import Counter

import numpy as np
import odd
import pytest
import torch
import torch.nn.functional as F
from both_ways import same_snapshot, snapshot
from odd import PATTERNS, Plain
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze
from surgicalft.trial import Conditions, find_plan

X = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def plan_of(kind, selection, **how):
    torch.manual_seed(0)
    model = kind()
    chosen = Blocks.of(model, PATTERNS).select(selection)
    freeze(model.train(), chosen)
    return find_plan(model, chosen.parameters, X, Conditions(**how))


@pytest.mark.parametrize(
    ("kind", "selection", "kept"),
    [
        (Plain, "b", [("a", 0, 0)]),
        (Plain, "c", [("b", 0, 0)]),
        (odd.Branches, "a", [("b", 0, 0)]),
        (odd.Branches, "c", [("a", 0, 0), ("b", 0, 0)]),
        (odd.Nested, "b", [("a", 0, 0), ("a", 0, 1)]),
        (odd.ModuleLists, "b", [("a.1", 0, 0)]),
        (odd.MaskFromModule, "b", [("a", 0, 0), ("mask", 0, 0)]),
        (odd.BatchStatistics, "b", [("a.0", 0, 0)]),
        (odd.BranchWithDropout, "a", [("b.0", 0, 0)]),
        (odd.SideList, "b", [("a.conv", 0, 0)]),
        (odd.SharedModule, "c", [("act", 2, 0)]),
    ],
)
def test_what_is_kept(kind, selection, kept):
    plan = plan_of(kind, selection)
    assert sorted(plan.kept) == sorted(kept), plan


def test_images_are_read_only_where_something_computed_reads_them():
    assert not plan_of(Plain, "b").reads_images
    assert plan_of(odd.MaskOfBytes, "b").reads_images
    assert plan_of(odd.Branches, "a").reads_images


@pytest.mark.parametrize(
    ("kind", "selection", "reason"),
    [
        (odd.PythonRandom, "c", "random numbers"),
        (odd.NumpyRandom, "c", "random numbers"),
        (odd.TorchCoin, "c", "decides by values"),
        (odd.Counter, "c", "counts or remembers something in Python, in 'calls'"),
        (odd.CounterInside, "c", "counts or remembers something in Python, in 'a.calls'"),
        (Plain, "a", "nothing frozen in front of what learns"),
        (odd.Detached, "a", "does not depend on what is tuned"),
    ],
)
def test_the_reason_is_told(kind, selection, reason):
    plan = plan_of(kind, selection)
    assert not plan and reason in plan.reason, plan.reason


class Broken(Plain):
    def forward(self, x):
        if len(x) == 1:
            raise KeyError("never alone")
        return super().forward(x)


def test_a_network_that_fails_in_the_trial_is_computed():
    assert plan_of(Broken, "c").reason == "the trial failed: KeyError: 'never alone'"


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (odd.BatchCentred, "b"),
        (odd.FaintlyBatchDependent, "b"),
        (odd.DividedByBatch, "b"),
        (odd.Rolled, "b"),
    ],
)
def test_what_depends_on_the_batch_is_kept_only_for_batches_that_stay_together(kind, named):
    apart, together = plan_of(kind, "c"), plan_of(kind, "c", rows=False)
    assert (named, 0) in together.outputs and (named, 0) not in apart.outputs


def test_evaluation_mode_alone_allows_more():
    """Batch statistics that training would change."""

    class Norm(Plain):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8))

    def plan(training):
        torch.manual_seed(0)
        model = Norm()
        chosen = Blocks.of(model, PATTERNS).select("b")
        freeze(model, chosen, norm="train")
        return find_plan(model, chosen.parameters, X, Conditions(training=training))

    assert ("a", 0) in plan(False).outputs and ("a", 0) not in plan(True).outputs
    assert ("a.0", 0) in plan(True).outputs


@pytest.mark.parametrize(
    "kind", [k for k in odd.ODD if k not in (odd.Argmax, odd.Lambda)], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("selection", ["b", "all"])
def test_the_network_and_all_random_numbers_stay_as_they_were(kind, selection):
    torch.manual_seed(0)
    model = kind()
    chosen = Blocks.of(model, PATTERNS).select(selection)
    freeze(model.train(), chosen)
    before = snapshot(model)
    attributes = {k: v for m in model.modules() for k, v in vars(m).items() if isinstance(v, int)}
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    find_plan(model, chosen.parameters, X)
    assert same_snapshot(before, snapshot(model))
    after = {k: v for m in model.modules() for k, v in vars(m).items() if isinstance(v, int)}
    assert attributes == after
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


def test_no_calls_reach_the_network_itself():
    model = Plain()
    chosen = Blocks.of(model, PATTERNS).select("c")
    freeze(model, chosen)
    counts = Counter()
    forward = type(model).forward

    class Counting(Plain):
        def forward(self, x):
            counts[id(self)] += 1
            return forward(self, x)

    model.__class__ = Counting
    assert find_plan(model, chosen.parameters, X)
    assert counts[id(model)] == 0 and len(counts) >= 2  # copies only


class DeadEnd(Plain):
    """What nothing is made of need not be computed: shapes go through."""

    def forward(self, x):
        h = torch.cat(
            [self.a(x), self.a(x) * 2], 1
        )  # outside of modules, read by a frozen one alone
        return self.c(F.relu(self.b2(h)).flatten(1))

    def __init__(self):
        super().__init__()
        self.b = nn.Identity()
        self.b2 = nn.Conv2d(16, 8, 3, 2, 1)


def test_operations_that_only_answering_modules_read_need_no_values():
    torch.manual_seed(0)
    model = DeadEnd()
    chosen = Blocks.of(model, {"a": r"a\.", "b": r"b2\.", "c": r"c\."}).select("c")
    freeze(model, chosen)
    plan = find_plan(model, chosen.parameters, X)
    assert plan.kept == (("b2", 0, 0),) and not plan.reads_images
