"""L1-SP and L2-SP: a penalty on the distance from the pre-trained weights (the starting point)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from surgicalft.methods.base import Method, Plan, Situation, all_of


@dataclass(frozen=True)
class L1SP(Method):
    """loss + strength · sum |theta - theta_0|, over every scalar that learns; variant "l2": + strength/2 · sum squares.

    The subgradient at theta_0 is 0. Cost: one run for each strength tried: the paper gives none, validation has to
    choose. Source: Xuhong et al. (2018), eq. 2 to 5; theirs leaves the new classifier out, ours is not new.
    """

    variants: ClassVar[tuple[str, ...]] = ("", "l2")
    default: ClassVar[float | None] = 1e-3
    fixed: ClassVar[bool] = True

    def plan(self, now: Situation) -> Plan:
        return all_of(now.selection)

    def penalty(self, tuned: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Tensor | None:
        moved = [value - start[name] for name, value in tuned.items()]
        size = [m.square().sum() / 2 if self.variant == "l2" else m.abs().sum() for m in moved]
        return self.value * torch.stack(size).sum() if size else None
