"""The interface of a search: runs inside one run, which share what they can, and end in one selection and one rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.cost import Meter
from surgicalft.evaluate import ImageForm, to_float
from surgicalft.finetune import Tuned, finish
from surgicalft.given_network import check_type, copy_network, fast_format
from surgicalft.memory import Memory
from surgicalft.methods.surgical import Surgical
from surgicalft.shifts.base import Splits
from surgicalft.training import Diverged, FineTune, Training

Score = tuple[float, float]  # validation accuracy and minus validation loss: the larger the better
WORST: Score = (-math.inf, -math.inf)


@dataclass
class Candidate:
    """One selection at one learning rate; its training begins when it is first asked to `go`."""

    selection: str
    learning_rate: float
    begin: Callable[[], Training] = field(repr=False)
    training: Training | None = field(default=None, repr=False)
    score: Score = WORST  # of its best epoch so far; the worst where it diverged
    loss: float = math.inf  # the lowest on the validation images so far
    epochs: int = 0

    def go(self, epochs: int) -> None:
        """Tune until so many epochs are done in all."""
        self.training = self.training or self.begin()
        try:
            while self.epochs < epochs:
                self.epochs += 1
                self.training.epoch()
        except Diverged:
            self.training, self.score, self.loss = None, WORST, math.inf
            return
        best = self.training.history[self.training.chosen - 1]
        self.score = best["valid_accuracy"], -best["valid_loss"]
        self.loss = min(entry["valid_loss"] for entry in self.training.history)

    def row(self, number: int) -> dict[str, Any]:
        """What the record keeps of this candidate in round `number`; a diverged one has no metrics."""
        known = {"round": number, "selection": self.selection, "learning_rate": self.learning_rate}
        accuracy, loss = self.score
        metrics = {"valid_accuracy": accuracy, "valid_loss": -loss, "lowest_loss": self.loss}
        metrics = {} if self.score == WORST else metrics
        return {**known, "epochs": self.epochs, **metrics}


@dataclass(frozen=True)
class Arena:
    """What the candidates share: source weights, splits, what frozen modules gave, and the count of costs.

    `rates` are the learning rates to try, `last_rates` those of the last block alone (none: the same).
    """

    model: nn.Module
    blocks: Blocks
    splits: Splits
    settings: FineTune
    rates: tuple[float, ...]
    last_rates: tuple[float, ...]
    memory: Memory | None
    meter: Meter
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates + self.last_rates) <= 0:
            raise ValueError(
                f"a search needs positive learning rates, not {self.rates}, {self.last_rates}"
            )
        if self.settings.epochs < 1:
            raise ValueError(f"a search needs at least one epoch, not {self.settings.epochs}")

    def candidates(self, selection: str) -> list[Candidate]:
        """That selection at each of its learning rates."""
        last = self.last_rates if selection == list(self.blocks)[-1] else ()
        return [
            Candidate(selection, r, partial(self._begin, selection, r)) for r in last or self.rates
        ]

    def _begin(self, selection: str, rate: float) -> Training:
        how = FineTune(**{**vars(self.settings), "learning_rate": rate})
        return Training(
            copy_network(self.model),
            self.blocks.select(selection),
            self.splits,
            how,
            Surgical(),
            self.device,
            self.memory,
            self.blocks,
            self.meter,
        )


def search(how: "Search", arena: Arena) -> Tuned:
    """What the search found, the test images read once, at the end; `history` has a row per candidate and round."""
    check_type(arena.model)
    arena.model.to(arena.device)
    example = to_float(arena.splits.tune.images[:2], arena.device, ImageForm.of(arena.model))
    with fast_format(arena.model, example):
        best, rows = how(arena)
        assert best.training is not None
        return replace(finish(best.training), history=rows)


Found = tuple[
    Candidate, list[dict[str, Any]]
]  # the winner, and a row for each candidate of each round
Search = Callable[[Arena], Found]


def best_of(candidates: list[Candidate]) -> Candidate:
    """The highest score; ties go to the first. The others give their memory back. Diverged if none is left."""
    best = max(candidates, key=lambda candidate: candidate.score)
    for candidate in candidates:
        candidate.training = candidate.training if candidate is best else None
    if best.score == WORST:
        tried = [(c.selection, c.learning_rate) for c in candidates]
        raise Diverged(f"training diverged for every candidate: {tried}", [])
    return best
