"""What came of a stream: predictions counted, and whether the network collapsed on the way."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from surgicalft.testtime.entropy import entropy

WINDOW = 50  # images that an entry of a record's history tells of


@dataclass
class Outcome:
    """Image by image, in the order of the stream; entropies in nats."""

    predicted: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)  # after how many images
    collapsed_at: int | None = None  # after how many images that was first noticed

    def __len__(self) -> int:
        return len(self.predicted)

    def add(self, logits: Tensor, label: int) -> None:
        """One prediction (classes,) and its truth."""
        self.predicted.append(int(logits.argmax()))
        self.labels.append(label)
        self.entropies.append(float(entropy(logits)))

    def note_collapse(self, reset: bool) -> None:
        """That the network has collapsed, and whether it was set back."""
        self.collapsed_at = self.collapsed_at or len(self)
        if reset:
            self.resets.append(len(self))

    def record(self) -> dict[str, Any]:
        """The fields of a record."""
        metrics = {"entropy": sum(self.entropies) / len(self), "resets": float(len(self.resets))}
        if self.collapsed_at is not None:
            metrics["collapsed_at"] = float(self.collapsed_at)
        right = sum(map(int.__eq__, self.predicted, self.labels))
        return {
            "test_accuracy": 100 * right / len(self),
            "n_test": len(self),
            "history": [self._window(start) for start in range(0, len(self), WINDOW)],
            "metrics": metrics,
        }

    def _window(self, start: int) -> dict[str, Any]:
        part = slice(start, start + WINDOW)
        predicted, entropies = self.predicted[part], self.entropies[part]
        images = start + len(predicted)
        window: dict[str, Any] = {
            "images": images,
            "correct": "".join(
                "01"[p == y] for p, y in zip(predicted, self.labels[part], strict=True)
            ),
            "entropy": sum(entropies) / len(predicted),
            "top": max(map(predicted.count, set(predicted))) / len(predicted),
        }
        return window | ({"reset": True} if any(start < r <= images for r in self.resets) else {})

    def state(self) -> dict[str, Any]:
        """Everything, as plain values; `Outcome(**state)` gives it back."""
        return asdict(self)
