"""Surgical fine-tuning: the selection learns, at one rate; with the selection "all", full fine-tuning."""

from dataclasses import dataclass
from typing import ClassVar

from surgicalft.methods.base import Method, Plan, Situation, all_of


@dataclass(frozen=True)
class Surgical(Method):
    """Eq. 1: minimise the target loss over the selection, all else at its pre-trained value.

    Cost: one run. The selections "all", "last", "norms" and "biases" make it full fine-tuning, last-layer probing,
    the tuning of normalisation alone (Frankle et al. 2021) and of biases alone (Ben Zaken et al. 2022).
    """

    fixed: ClassVar[bool] = True

    def plan(self, now: Situation) -> Plan:
        return all_of(now.selection)
