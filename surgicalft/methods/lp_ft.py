"""LP-FT: first the classifier learns, then everything."""

from dataclasses import dataclass
from typing import ClassVar

from surgicalft.methods.base import Method, Plan, Situation, all_of


@dataclass(frozen=True)
class LPFT(Method):
    """The last block alone in the first half of the epochs, at `strength` times the learning rate; then all at once.

    The optimiser starts afresh at the change. Cost: less than one run. Source: Kumar et al. (2022a), who train the
    classifier to convergence and choose both learning rates; here one ratio for both, 10, keeps it at one run.
    """

    default: ClassVar[float | None] = 10.0

    def plan(self, now: Situation) -> Plan:
        turn = now.epochs // 2
        if now.epoch < turn:
            return Plan(dict.fromkeys(now.parts()[-1], self.value))
        return Plan(all_of(now.selection).rates, reset=now.epoch == turn)
