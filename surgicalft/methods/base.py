"""The interface of a method: what learns in an epoch, at which rate, with which penalty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.probe import Probe
from surgicalft.settings import check_choice


@dataclass(frozen=True)
class Plan:
    """Of one epoch: each tensor that learns, and its share of the learning rate (> 0); all others are frozen.

    `reset`: the optimiser forgets what it has gathered (momentum, squared gradients).
    """

    rates: Mapping[str, float]
    reset: bool = False


@dataclass(frozen=True)
class Situation:
    """What a method may look at before an epoch: never validation or test images."""

    model: nn.Module
    selection: Selection  # what may be tuned at all
    epoch: int  # from 0
    epochs: int
    probe: Probe  # gradients at the present weights
    partition: Blocks | None = None
    previous: Plan | None = None  # of the epoch before

    @property
    def blocks(self) -> Blocks:
        """The model's blocks; ValueError where it declares none and none were given."""
        return self.partition or Blocks.of(self.model)

    def parts(self) -> list[tuple[str, ...]]:
        """The tensors of the selection by block, in order, blocks without any left out."""
        chosen = set(self.selection.parameters)
        named = (self.blocks.parameters(block) for block in self.blocks)
        groups = [tuple(name for name in names if name in chosen) for names in named]
        return [group for group in groups if group]


@dataclass(frozen=True)
class Method:
    """A way to tune within a selection. `variant` and `strength` (None: `default`) mean what the method says.

    Raises ValueError for a variant or a strength that the method does not have.
    """

    variant: str = ""
    strength: float | None = None

    variants: ClassVar[tuple[str, ...]] = ("",)
    default: ClassVar[float | None] = None  # None: the method has no strength
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    fixed: ClassVar[bool] = False  # the plan is the same in every epoch, and all its shares are 1

    def __post_init__(self) -> None:
        check_choice(f"variant of {type(self).__name__}", self.variant, self.variants)
        if self.strength is None:
            return
        if self.default is None:
            raise ValueError(
                f"{type(self).__name__} takes no strength, but was given {self.strength}"
            )
        low, high = self.bounds
        if not low <= self.strength <= high:
            raise ValueError(
                f"strength of {type(self).__name__} must lie in {low:g}..{high:g}, not {self.strength}"
            )

    @property
    def value(self) -> float:
        """The strength, or its default."""
        chosen = self.default if self.strength is None else self.strength
        assert chosen is not None
        return chosen

    def plan(self, now: Situation) -> Plan:
        """What learns in epoch `now.epoch`."""
        raise NotImplementedError

    def penalty(self, tuned: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Tensor | None:
        """What is added to the loss: of the tensors that learn, and of their pre-trained values."""
        return None


def all_of(selection: Selection) -> Plan:
    """Everything in the selection learns at the full rate."""
    return Plan(dict.fromkeys(selection.parameters, 1.0))
