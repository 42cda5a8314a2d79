"""Auto-RGN: each tensor learns at a share of the rate that its relative gradient norm gives it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from surgicalft.methods.base import Method, Plan, Situation
from surgicalft.methods.criteria import relative_gradient_norm, scaled
from surgicalft.probe import Gradients
from surgicalft.tensor_kinds import norm_tensors

BATCHES = 5  # of the authors' code; the text gives no number
HEAD_RATE = 10.0  # of the variant "after-head", as in LP-FT


@dataclass(frozen=True)
class AutoRGN(Method):
    """Eq. 3: share_i = RGN_i / max_j RGN_j with RGN_i = ||g_i|| / ||theta_i||, measured before every epoch.

    g_i is the gradient of tensor i, weights and biases apart, on five batches. `variant` "": g is the mean over the
    batches, and every tensor takes part. "code", as the authors publish it: the mean of the batches' ratios,
    tensors of normalisation layers never learn, and Adam starts afresh in every epoch. "after-head", ours: the
    classifier learns alone for a fifth of the epochs, so that its error no longer drowns the others'.

    Cost: one run and five batches an epoch. Departure: the text says that ratios are normalised to lie between 0
    and 1; division by the largest does that and, other than min-max scaling, never freezes the smallest.
    """

    variants: ClassVar[tuple[str, ...]] = ("", "code", "after-head")

    def plan(self, now: Situation) -> Plan:
        if self.variant == "after-head" and now.epoch < now.epochs // 5:
            return Plan(dict.fromkeys(now.parts()[-1], HEAD_RATE))
        batches = now.probe.gradients(BATCHES)
        parameters = now.probe.parameters()
        if self.variant != "code":
            ratios = relative_gradient_norm(mean_gradient(batches), parameters)
            return Plan(_positive(scaled(ratios)))
        each = [relative_gradient_norm(gradients, parameters) for gradients in batches]
        ratios = without_norms(now, mean_values(each))
        return Plan(_positive(scaled(ratios)), reset=True)


def mean_gradient(batches: Sequence[Gradients]) -> Gradients:
    """Of each tensor, over batches."""
    return {name: sum(batch[name] for batch in batches) / len(batches) for name in batches[0]}  # type: ignore[misc]


def mean_values(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each tensor's criterion, over batches."""
    return {name: sum(values[name] for values in each) / len(each) for name in each[0]}


def without_norms(now: Situation, values: dict[str, float]) -> dict[str, float]:
    """The tensors that belong to no normalisation layer."""
    norms = set(norm_tensors(now.model))
    kept = {name: value for name, value in values.items() if name not in norms}
    if not kept:
        raise ValueError(
            f"{now.selection.name!r} holds tensors of normalisation layers only: none may learn"
        )
    return kept


def _positive(shares: dict[str, float]) -> dict[str, float]:
    return {name: share for name, share in shares.items() if share > 0}
