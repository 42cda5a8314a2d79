"""Greedy SubTuning: the best block, then the block that adds most to it, and so on."""

from surgicalft.searches.base import Arena, Candidate, Found, best_of


def greedy(arena: Arena) -> Found:
    """Add to the selection the block that raises the validation accuracy most, until none raises it.

    Every selection is tuned for all epochs at every learning rate. Cost: that of Cross-Val in the first round, and
    as much again, less one block, in each further one. Source: Kaplun et al. (2023), "Less is More: Selective Layer
    Finetuning with SubTuning", algorithm 1; they stop at a gain below a threshold, here it is 0.
    """
    best: Candidate | None = None
    chosen: list[str] = []
    rows = []
    while len(chosen) < len(arena.blocks):
        wider = ("+".join([*chosen, block]) for block in arena.blocks if block not in chosen)
        tried = [candidate for selection in wider for candidate in arena.candidates(selection)]
        for candidate in tried:
            candidate.go(arena.settings.epochs)
        rows += [candidate.row(len(chosen)) for candidate in tried]
        step = best_of(tried)
        if best is not None and step.score[0] <= best.score[0]:
            break
        best, chosen = step, step.selection.split("+")
    assert best is not None
    return best, rows
