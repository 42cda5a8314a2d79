"""Auto-SNR: tensors whose gradients are mostly noise are frozen."""

from dataclasses import dataclass
from typing import ClassVar

from surgicalft.methods.auto_rgn import BATCHES, mean_values, without_norms
from surgicalft.methods.base import Method, Plan, Situation
from surgicalft.methods.criteria import scaled, signal_to_noise, signal_to_noise_code
from surgicalft.methods.per_input import gradient_moments

CODE_THRESHOLD = 0.95  # of the authors' code, unscaled


@dataclass(frozen=True)
class AutoSNR(Method):
    """Eq. 4: a tensor learns in an epoch if SNR / max SNR is at least the threshold `strength`, in [0, 1].

    SNR = mean over coordinates of (mean over inputs)^2 / variance over inputs, of the gradients of single inputs, on
    one batch before every epoch. At 1 the best tensor alone learns, at 0 all do. `variant` "code", as the authors
    publish it: the squared gradient of a batch over its variance across output channels, mean over five batches,
    no scaling, threshold 0.95 if none is given (any is legal; one that no tensor reaches freezes everything: the
    epoch changes nothing), normalisation layers never learn, Adam starts afresh in every epoch.

    Cost: one run and a batch an epoch, for each threshold tried: the paper tunes it and does not give it.
    """

    variants: ClassVar[tuple[str, ...]] = ("", "code")
    default: ClassVar[float | None] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.variant and self.value > 1:
            raise ValueError(
                f"threshold of AutoSNR must lie in 0..1, not {self.strength}: it would freeze everything"
            )

    def plan(self, now: Situation) -> Plan:
        if self.variant == "code":
            each = [signal_to_noise_code(gradients) for gradients in now.probe.gradients(BATCHES)]
            values = without_norms(now, mean_values(each))
            threshold = CODE_THRESHOLD if self.strength is None else self.strength
        else:
            values = scaled(signal_to_noise(now.probe.per_input(gradient_moments)))
            threshold = self.value
        loud = [name for name, value in values.items() if value >= threshold]
        return Plan(dict.fromkeys(loud, 1.0), reset=self.variant == "code")
