"""Collapse: an online network that is sure of itself and predicts one class whatever it sees."""

import math
from collections import deque
from dataclasses import dataclass

from torch import Tensor

from surgicalft.testtime.entropy import entropy


@dataclass(frozen=True)
class Collapse:
    """What counts as collapse: over the last `window` images one class has at least `share` of the predictions, and

    their mean entropy is at most `certainty` times log(classes), which is that of a network that knows nothing. A
    stream sorted by class looks the same to a network that is right: it takes images in random order.
    """

    window: int = 50
    share: float = 0.95
    certainty: float = 0.1

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be 1 or more, not {self.window}")
        for name in ("share", "certainty"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], not {getattr(self, name)}")


class Watch:
    """Sees a network's predictions one by one."""

    def __init__(self, rule: Collapse | None = None) -> None:
        self.rule = rule or Collapse()
        self._seen: deque[tuple[int, float]] = deque(maxlen=self.rule.window)

    def __call__(self, logits: Tensor) -> bool:
        """Whether the network has collapsed, with this prediction; logits (classes,)."""
        limit = self.rule.certainty * math.log(len(logits))
        self._seen.append((int(logits.argmax()), float(entropy(logits))))
        if len(self._seen) < self.rule.window:
            return False
        classes = [predicted for predicted, _ in self._seen]
        share = max(map(classes.count, set(classes))) / len(classes)
        mean = sum(value for _, value in self._seen) / len(self._seen)
        return share >= self.rule.share and mean <= limit

    def forget(self) -> None:
        """What was seen before a reset says nothing about after."""
        self._seen.clear()

    def state(self) -> list[tuple[int, float]]:
        """What it remembers."""
        return list(self._seen)

    def load_state(self, seen: list[tuple[int, float]]) -> None:
        """What `state` gave."""
        self._seen = deque(((int(k), float(h)) for k, h in seen), maxlen=self.rule.window)
