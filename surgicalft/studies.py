"""A study: what is tuned on one scenario, from which source model, at which learning rates."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from surgicalft.runs import Run


@dataclass(frozen=True)
class Study:
    """The grid of runs behind one panel of a figure, or one column of a table.

    `base` is its run but for what varies: its selection is "none", its learning rate 0. `last_learning_rates` are those
    of the last layer alone, which bears and needs larger ones; none given: the same as of the others.
    """

    base: Run
    selections: tuple[str, ...]
    learning_rates: tuple[float, ...]
    last_learning_rates: tuple[float, ...] = ()

    def runs(self, seeds: Iterable[int], **more: Any) -> Iterator[Run]:
        """For each seed the network as it was ("none"), then every selection at every rate.

        `more` replaces settings of every run, such as `n_tune`.
        """
        base = replace(self.base, **more)
        for seed in seeds:
            yield replace(base, epochs=0, seed=seed)
            for name in self.selections:
                for rate in self.rates(name):
                    yield replace(base, selection=name, learning_rate=rate, seed=seed)

    def rates(self, selection: str) -> tuple[float, ...]:
        """The learning rates tried for that selection."""
        last = self.last_learning_rates if selection == "last" else ()
        return last or self.learning_rates
