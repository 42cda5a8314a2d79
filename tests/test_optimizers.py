"""Optimisers and schedules by name are PyTorch's, and the schedules are what their formulas say."""

import math

import pytest
import torch
from torch import nn

from surgicalft.optimizers import make_optimizer, make_schedule


def parameter():
    return nn.Parameter(torch.tensor([1.0, -2.0]))


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adam", lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.5)),
        ("adamw", lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.5)),
        ("sgd", lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.5)),
    ],
)
def test_names_stand_for_pytorchs(name, reference):
    ours, theirs = parameter(), parameter()
    pairs = [(ours, make_optimizer(name, [ours], 0.1, 0.5)), (theirs, reference([theirs]))]
    for value, optimizer in pairs:
        for step in range(3):
            value.grad = torch.tensor([0.3, 0.1 * step])
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def rates(name, steps):
    optimizer = make_optimizer("sgd", [parameter()], 0.4, 0.0)
    schedule = make_schedule(name, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule:
            schedule.step()
    return found


def test_schedules():
    assert rates("constant", 4) == [0.4] * 4
    cosine = [0.2 * (1 + math.cos(math.pi * t / 8)) for t in range(8)]
    assert rates("cosine", 8) == pytest.approx(cosine)
    cycle = rates("one-cycle", 20)
    assert max(cycle) == pytest.approx(0.4) and cycle.index(max(cycle)) == 3
    assert cycle[-1] < 1e-4 < cycle[0] < 0.05


def test_unknown_names():
    with pytest.raises(ValueError, match=r"optimizer must be one of .*'sgd'.*, not 'lion'"):
        make_optimizer("lion", [parameter()], 0.1, 0.0)
    with pytest.raises(ValueError, match=r"schedule must be one of .*'cosine'.*, not 'linear'"):
        make_schedule("linear", make_optimizer("sgd", [parameter()], 0.1, 0.0), 5)
