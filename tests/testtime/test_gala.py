"""Which layer moves, checked against cosines worked out by hand, and what a stopped stream remembers."""

import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.testtime.gala import WINDOW, Gala
from surgicalft.testtime.memo import Memo
from surgicalft.testtime.online import Online

MEMO = Memo(0.02, "sgd", augmentations=3)


def adapter(selection="all", memo=MEMO, kind=Gala):
    network = build("resnet8-gn-w8", 10, seed=0).eval()
    return kind(network, Blocks.of(network).select(selection), memo)


def images(n):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)


def weights(gala):
    return [p.detach().clone() for p in gala.learner.parameters]


def moved(gala, before):
    now = zip(gala.learner.selection.parameters, before, gala.learner.parameters, strict=True)
    return {name.rpartition(".")[0] for name, old, new in now if not torch.equal(old, new)}


def test_all_layers_move_first_and_at_most_one_then():
    gala, counts = adapter(), []
    before = weights(gala)
    for _ in gala(images(WINDOW + 1), range(WINDOW + 1)):
        counts.append(len(moved(gala, before)))
        before = weights(gala)
    assert counts[0] == counts[WINDOW] == len(gala._layers)
    assert set(counts[1:WINDOW]) <= {0, 1} and 1 in counts


def test_the_layer_that_goes_on_straight_on_is_chosen():
    gala = adapter("tensors:conv1.weight,fc.weight,fc.bias")
    first = [torch.ones_like(p) for p in gala.learner.parameters]
    gala.learner.step(first) if gala._moving(first) else None
    back = [torch.ones_like(first[0]), *(-g for g in first[1:])]  # the last layer would turn back
    assert gala._moving(back) == {0}
    assert gala._moving([-first[0], *first[1:]]) == {1, 2}  # weight and bias are one layer
    assert gala._moving([-g for g in first]) == set()  # u + d = 0: nothing is aligned
    assert gala._moving([torch.zeros_like(g) for g in first]) == set()


def test_a_single_layer_in_its_own_direction_is_online_adaptation_when_aligned():
    memo = Memo(
        0.0, "sgd", augmentations=3
    )  # nothing moves: all predictions are the source model's
    ours = list(adapter(memo=memo)(images(4), range(4)))
    theirs = list(adapter(memo=memo, kind=Online)(images(4), range(4)))
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("stop", [1, 7, WINDOW, WINDOW + 3])
def test_its_state_goes_on_to_the_same_bits(stop):
    n = WINDOW + 6
    whole = [logits.clone() for logits in adapter()(images(n), range(n))]
    one, other = adapter(), adapter()
    list(one(images(n)[:stop], range(stop)))
    other.load_state(one.state())
    rest = list(other(images(n)[stop:], range(stop, n)))
    assert all(map(torch.equal, whole[stop:], rest))


def test_a_reset_begins_anew():
    gala = adapter()
    first = list(gala(images(5), range(5)))
    gala.reset()
    assert all(map(torch.equal, first, list(gala(images(5), range(5)))))


def test_other_optimisers_are_refused():
    with pytest.raises(ValueError, match="'sgd' alone, not of 'adamw'"):
        adapter(memo=Memo(0.1, "adamw"))
