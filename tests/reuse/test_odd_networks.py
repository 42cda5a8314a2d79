"""Networks as people write them: tuned with answers from memory they end where the plain loop ends.

Single steps are compared bit for bit elsewhere; here everything that comes of a run: weights, buffers and losses.
"""

import pytest
import torch
from both_ways import HOW, compare, same_snapshot, seed_everything, snapshot
from odd import ODD, PATTERNS, Plain

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.reuse import Answering, OtherPath

CASES = [(kind, *case) for kind, cases in ODD.items() for case in cases]


def patterns_of(kind):
    return None if hasattr(kind, "block_patterns") else PATTERNS


@pytest.mark.parametrize(
    ("kind", "selection", "reused"), CASES, ids=[f"{c[0].__name__}-{c[1]}" for c in CASES]
)
def test_both_ways_end_alike(kind, selection, reused):
    found = compare(kind, selection, patterns_of(kind))
    assert found.equal, found
    assert found.accuracy[0] == found.accuracy[1]
    assert reused is None or found.reused == reused, found.reuse


@pytest.mark.parametrize("norm", ["train", "tuned"])
@pytest.mark.parametrize("kind", ODD, ids=lambda kind: kind.__name__)
def test_with_statistics_of_the_batch(kind, norm):
    how = FineTune(**{**vars(HOW), "norm": norm, "epochs": 2})
    assert compare(kind, "b", patterns_of(kind), how=how).equal


@pytest.mark.parametrize("kind", ODD, ids=lambda kind: kind.__name__)
def test_tuning_nothing_changes_nothing(kind):
    """Not a buffer, not a stride, not a mode, not an attribute; the random numbers go on where they were."""
    from both_ways import splits

    torch.manual_seed(0)
    model = kind()
    chosen = Blocks.of(model, patterns_of(kind)).select("none")
    flags = [False for _ in model.parameters()]
    before = snapshot(model) | {"flags": flags}  # everything is frozen afterwards, as documented
    seed_everything()
    random = torch.get_rng_state()
    fine_tune(model, chosen, splits(), HOW)
    after = snapshot(model)
    for key in ("modes", "classes"):  # held in evaluation mode, under the same names
        before.pop(key), after.pop(key)
    if kind.__name__ not in EVEN_IN_EVALUATION:
        assert same_snapshot(before, after)
        assert torch.equal(random, torch.get_rng_state())


# What a pass in evaluation mode changes in any case: kept activations, counters, states.
EVEN_IN_EVALUATION = (
    "StatefulModule",
    "KeepsActivation",
    "ReadsAttribute",
    "ReadsLastBatch",
    "Counter",
)


def test_evaluation_computes_where_the_network_takes_another_way(monkeypatch):
    class Moody(Answering):
        def __call__(self, images, kept=None):
            if self.plan and not self.network.training:
                raise OtherPath("another way")
            return super().__call__(images, kept)

    monkeypatch.setattr("surgicalft.training.Answering", Moody)
    found = compare(Plain, "c", PATTERNS)
    assert found.equal, found
    assert found.reuse == "everything is computed: another way"
