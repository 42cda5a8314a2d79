"""Every module of timm, torchvision's families, open_clip and our own: tuned both ways, everything ends alike.

`make architectures` runs all and prints how many of how many; a few are in the fast tests.
"""

import copy
from collections import Counter

import pytest
from architectures import cases, network, selections
from both_ways import compare, splits

from surgicalft.finetune import FineTune

HOW = FineTune(1e-3, epochs=2, batch_size=8, optimizer="sgd", evaluation_batch_size=7)
TALLY: Counter = Counter()


def check(case):
    try:
        model, side = network(case)
    except LookupError as error:
        TALLY["modules of which none builds on small images"] += 1
        pytest.skip(f"none of {case} builds here: {error}")
    data = splits(side, n=20)
    for selection in selections(model):
        found = compare(lambda: copy.deepcopy(model), selection, data=data, how=HOW)
        TALLY.update(comparisons=1, equal=found.equal, reused=found.reused)
        print(f"{case} {side} {next(model.parameters()).dtype} {selection}: {found}")
        assert found.equal, (selection, found)


@pytest.mark.parametrize("case", ["resnet8-bn-w8", "clip-vit-tiny", "rvt", "timm/ghostnet"])
def test_some(case):
    check(case)


@pytest.mark.architectures
@pytest.mark.parametrize("case", cases())
def test_every_architecture(case):
    check(case)


@pytest.mark.architectures
def test_the_tally():
    """Printed last; the tests above assert."""
    print("\n" + ", ".join(f"{count} {what}" for what, count in TALLY.items()))
