"""Auto-Fisher: the block whose parameters carry the most Fisher information learns, alone."""

from dataclasses import dataclass

from surgicalft.methods.base import Method, Plan, Situation
from surgicalft.methods.criteria import fisher
from surgicalft.methods.per_input import gradient_moments


@dataclass(frozen=True)
class AutoFisher(Method):
    """The block of the highest mean of g^2, over inputs and the block's scalars, chosen once, on one batch.

    g are gradients of single inputs (empirical Fisher information). Beyond the paper: the score is that of FISH
    masks (Sung et al. 2021), which choose scalars by it; here it chooses a block. Cost: less than one run.
    """

    def plan(self, now: Situation) -> Plan:
        if now.previous is not None:
            return now.previous
        scores = fisher(now.probe.per_input(gradient_moments))
        size = {name: p.numel() for name, p in now.probe.parameters().items()}

        def information(part: tuple[str, ...]) -> float:
            return sum(scores[n] * size[n] for n in part) / sum(size[n] for n in part)

        best = max(now.parts(), key=information)
        return Plan(dict.fromkeys(best, 1.0))
