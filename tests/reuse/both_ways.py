"""Tune a network with answers from memory and without, and compare everything that comes of it."""

import copy
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, Tuned, fine_tune
from surgicalft.shifts.base import Labelled, Splits

HOW = FineTune(1e-2, epochs=3, batch_size=16, optimizer="sgd")


def labelled(n: int, seed: int, side: int, classes: int, channels: int = 3) -> Labelled:
    """Images of chance whose brightness drifts, with random labels."""
    random_ = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, channels, side, side), generator=random_)
    images = images * torch.linspace(0.2, 1, n)[:, None, None, None]
    return Labelled(images.byte(), torch.randint(0, classes, (n,), generator=random_))


def splits(side: int = 12, classes: int = 4, n: int = 44, channels: int = 3) -> Splits:
    """n images to tune on, and fewer to validate and to test; the last batches are short."""
    sizes = (n, 19), (n // 2, 20), (n // 2 + 5, 21)
    return Splits(*(labelled(count, seed, side, classes, channels) for count, seed in sizes))


@dataclass(frozen=True)
class Comparison:
    """What differs at most: weights and buffers (relative to how far tuning moved), losses; and what was reused."""

    weights: float
    buffers: float
    losses: float
    reuse: str
    accuracy: tuple[float, float]

    @property
    def equal(self) -> bool:
        """To rounding."""
        return max(self.weights, self.buffers, self.losses) < 2e-3

    @property
    def reused(self) -> bool:
        return "answer from memory" in self.reuse


def compare(
    make: Callable[[], nn.Module],
    selection: str,
    patterns: Mapping[str, str] | None = None,
    data: Splits | None = None,
    how: FineTune = HOW,
) -> Comparison:
    """Both ways from the same weights and the same random numbers."""
    source = seeded(make)
    data = data or splits()
    runs = []
    for reuse in (True, False):
        model = seeded(make)  # not copied: some of these cannot be
        seed_everything()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*images in \\[0, 1\\]")
            tuned = fine_tune(
                model, Blocks.of(model, patterns).select(selection), data, how, reuse=reuse
            )
        runs.append((model, tuned))
    return _difference(source, *runs[0], *runs[1])


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """The same network at each call."""
    torch.manual_seed(0)
    return make()


def seed_everything() -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)


def _difference(
    source: nn.Module, one: nn.Module, tuned: Tuned, other: nn.Module, plain: Tuned
) -> Comparison:
    assert [name for name, _ in one.named_parameters()] == [n for n, _ in other.named_parameters()]
    start = {name: value.double() for name, value in source.named_parameters()}
    moved = _length([b.double() - start[n] for n, b in other.named_parameters()])
    apart = _length(
        [a.double() - b.double() for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    )
    buffers = [
        _length([a.double() - b.double()]) / max(_length([b.double()]), 1e-3)
        for a, b in zip(one.buffers(), other.buffers(), strict=True)
    ]
    losses = [
        abs(a[name] - b[name]) / max(abs(b[name]), 1.0)
        for a, b in zip(tuned.history, plain.history, strict=True)
        for name in ("train_loss", "valid_loss")
    ]
    return Comparison(
        apart / max(moved, 1e-6),
        max(buffers, default=0.0),
        max(losses, default=0.0),
        tuned.reuse,
        (tuned.test_accuracy, plain.test_accuracy),
    )


def _length(differences: list[torch.Tensor]) -> float:
    return sum(d.detach().square().sum().item() for d in differences) ** 0.5


def snapshot(model: nn.Module) -> dict[str, object]:
    """All that a user could notice: state, modes, flags, classes, attributes."""
    return {
        "state": copy.deepcopy(model.state_dict()),
        "strides": [t.stride() for t in (*model.parameters(), *model.buffers())],
        "modes": [m.training for m in model.modules()],
        "flags": [p.requires_grad for p in model.parameters()],
        "classes": [type(m) for m in model.modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
    }


def same_snapshot(one: dict[str, object], other: dict[str, object]) -> bool:
    states = one["state"], other["state"]
    equal = all(
        torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True)
    )
    return equal and all(one[key] == other[key] for key in one if key != "state")
