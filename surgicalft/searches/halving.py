"""Successive halving over blocks and learning rates: many short runs, few long ones."""

import math

from surgicalft.searches.base import Arena, Candidate, Found, best_of


def halving(arena: Arena) -> Found:
    """Tune every (block, rate) a little, drop the worse half, tune the rest twice as long, and so on.

    With n candidates and R = ceil(log2 n) rounds of halving, those left after round r have done
    E / 2^(R - r) of E epochs, rounded up; the one left does all. Halves are told apart by the lowest validation
    loss so far, which after an epoch or two says more than the accuracy on a hundred images. A candidate goes on
    where it stopped, all share what frozen modules give, and the last block costs next to nothing: in all
    about the price of one full run. Source: Jamieson and Talwalkar (2016), "Non-stochastic Best Arm
    Identification", for hyper-parameters; blocks and sharing are ours.
    """
    left = [candidate for block in arena.blocks for candidate in arena.candidates(block)]
    rounds = math.ceil(math.log2(len(left)))
    rows = []
    for number in range(rounds + 1):
        epochs = math.ceil(arena.settings.epochs / 2 ** (rounds - number))
        for candidate in left:
            candidate.go(epochs)
        rows += [candidate.row(number) for candidate in left]
        left = _better_half(left)
    return best_of(left), rows


def _better_half(candidates: list[Candidate]) -> list[Candidate]:
    """Rounded up, the best first; what is dropped gives its memory back."""
    ranked = sorted(candidates, key=lambda candidate: candidate.loss)
    kept = ranked[: (len(ranked) + 1) // 2]
    for candidate in ranked[len(kept) :]:
        candidate.training = None
    return kept
