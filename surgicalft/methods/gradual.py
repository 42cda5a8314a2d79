"""Gradual unfreezing: one block more learns every few epochs, from the first on or from the last."""

from dataclasses import dataclass
from typing import ClassVar

from surgicalft.methods.base import Method, Plan, Situation


@dataclass(frozen=True)
class Gradual(Method):
    """Block j of B, counted in the order of unfreezing from 0, learns from epoch floor(j E / B) of E on, to the end.

    Cost: one run at most. Source: Howard and Ruder (2018), section 3.3, who unfreeze a layer per epoch from the
    last one; the paper gives no schedule, so that the epochs are shared out evenly here.
    """

    backwards: ClassVar[bool] = False

    def plan(self, now: Situation) -> Plan:
        parts = now.parts()
        order = parts[::-1] if self.backwards else parts
        awake = [p for j, p in enumerate(order) if j * now.epochs // len(order) <= now.epoch]
        return Plan({name: 1.0 for part in awake for name in part})


@dataclass(frozen=True)
class GradualFirstLast(Gradual):
    """From the first block to the last."""


@dataclass(frozen=True)
class GradualLastFirst(Gradual):
    """From the last block to the first."""

    backwards: ClassVar[bool] = True
