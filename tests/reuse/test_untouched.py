"""The network that a user gives is the same afterwards: bits, strides, modes, flags, attributes."""

import odd
import pytest
import timm
import torch
from both_ways import same_snapshot, snapshot, splits
from odd import PATTERNS

from surgicalft import Blocks, which_block
from surgicalft.testtime import Episodic, Gala, Memo, Online

SOME = [
    odd.Plain,
    odd.Ema,
    odd.ReboundEma,
    odd.SpectralNorm,
    odd.NormInTraining,
    odd.View,
]
MEMO = Memo(1e-3, "sgd", augmentations=4)


def of_timm(name):
    def make():
        model = timm.create_model(name, num_classes=4)
        with torch.no_grad():
            model.train()(torch.rand(4, 3, 64, 64))  # statistics other than 0 and 1
        return model.eval()

    make.__name__ = name
    return make


NETWORKS = [*SOME, of_timm("mobilenetv3_small_050"), of_timm("regnety_002")]


def made(make):
    torch.manual_seed(0)
    model = make()
    blocks = Blocks.of(model, PATTERNS if make in SOME else None)
    return model, blocks, 12 if make in SOME else 64


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_after_which_block(make):
    model, blocks, side = made(make)
    data = splits(side, n=16)
    before = snapshot(model)
    which_block(
        model,
        data.tune,
        data.valid,
        data.test,
        selections=[blocks.names[1], blocks.names[-1]],
        patterns=PATTERNS if make in SOME else None,
        rates=[1e-3],
        seeds=1,
        epochs=1,
        jobs=1,
        progress=False,
    )
    assert same_snapshot(before, snapshot(model))


@pytest.mark.parametrize("kind", [Episodic, Online, Gala])
@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_after_test_time_adaptation_which_equals_the_plain_pass(make, kind, monkeypatch):
    model, blocks, side = made(make)
    model.eval()
    images = splits(side, n=10).tune.images[:3]
    before = snapshot(model)
    found = torch.stack(list(kind(model, blocks.select(blocks.names[-1]), MEMO)(images)))
    assert same_snapshot(before, snapshot(model))
    monkeypatch.setattr("surgicalft.testtime.memo.Learner.prepare", lambda *a: None)
    plain = torch.stack(list(kind(model, blocks.select(blocks.names[-1]), MEMO)(images)))
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


def test_which_block_says_where_everything_was_computed():
    data = splits(n=16)
    how = {"patterns": PATTERNS, "rates": [1e-3], "seeds": 1, "epochs": 1, "progress": False}
    for make, told in ((odd.Plain, False), (odd.Counter, True)):
        found = which_block(make(), data.tune, data.valid, data.test, jobs=1, **how)
        notes = [note for note in found.notes if "everything is computed" in note]
        assert bool(notes) == told
        if told:
            assert "b, c: everything is computed: the network counts" in notes[0]
            assert "The numbers are right" in notes[0]
        reasons = {r.settings["selection"]: r.reuse for r in found.records}
        assert ("answer from memory" in reasons["c"]) == (not told)


@pytest.mark.parametrize("make", [odd.Lambda, odd.Patched])
def test_which_block_refuses_what_cannot_be_copied(make):
    """A function that holds `self` goes on computing with the network that was given."""
    model, data = make(), splits(n=16)
    before = snapshot(model)
    patterns = None if hasattr(make, "block_patterns") else PATTERNS
    with pytest.raises(ValueError, match="computes with tensors of the network itself"):
        which_block(model, data.tune, data.valid, data.test, patterns=patterns, progress=False)
    assert same_snapshot(before, snapshot(model))
