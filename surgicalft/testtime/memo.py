"""MEMO: learn from one unlabelled image by making the predictions on augmented views of it agree and be certain.

Source: Zhang, Levine and Finn (2022), "MEMO: Test Time Robustness via Adaptation and Augmentation"; which tensors
learn is the question of Lee et al. (2023), section 2.2 and appendix A.6.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn
from torch.optim import Optimizer

from surgicalft.blocks import Selection
from surgicalft.freezing import freeze
from surgicalft.optimizers import OPTIMIZERS, make_optimizer
from surgicalft.precision import PRECISIONS, autocast
from surgicalft.seeds import derive_seed
from surgicalft.settings import check_choice
from surgicalft.split import Features, Split, split
from surgicalft.testtime.augment import AugMix, augment
from surgicalft.testtime.entropy import marginal_entropy
from surgicalft.testtime.learning import Learning


@dataclass(frozen=True)
class Memo:
    """How one image is learned from.

    `steps` of `optimizer` ("sgd" has no momentum) on the marginal entropy over `augmentations` views, drawn anew for
    each step. Appendix A.6: "AdamW and SGD optimizers work better for the episodic and online setting, respectively".
    With `precision` "bfloat16" the views' passes are PyTorch's autocast, faster where the processor has instructions
    for it; weights, optimiser, entropy and the prediction stay in float32.
    """

    learning_rate: float
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    steps: int = 1
    augmentations: int = 32
    views: AugMix = field(default_factory=AugMix)
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("precision", self.precision, PRECISIONS)
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and 0 or more, not {value}")
        for name in ("steps", "augmentations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")

    def optimizer_of(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """A fresh one for these tensors."""
        rates = (self.learning_rate, self.weight_decay)
        return make_optimizer(self.optimizer, parameters, *rates, momentum=0.0)

    def draw(self, images: Tensor, seeds: Sequence[int], step: int = 0) -> Tensor:
        """That step's views of uint8 images (m, 3, h, w), one seed each: float (m, augmentations, 3, h, w)."""
        own = [derive_seed(seed, step) for seed in seeds]
        return augment(images, self.augmentations, own, self.views)


class Learner:
    """A network in evaluation mode whose `selection` learns in place, and which knows the way back.

    What lies in front of the first tuned tensor is computed apart (`features`), without a graph for gradients; behind
    it no frozen weight gets a gradient. `graph` is `surgicalft.split.trace(network)`; without one the network is left
    whole. Raises ValueError for a selection without tensors.
    """

    def __init__(
        self, network: nn.Module, selection: Selection, memo: Memo, graph: fx.Graph | None = None
    ) -> None:
        self.learning = Learning(network, selection, memo.optimizer_of)
        freeze(network, selection)
        self.network, self.selection, self.memo = network.eval(), selection, memo
        self.parameters = list(self.learning.named.values())
        self._graph = graph
        self._parts: Split | None = None

    def reset(self) -> None:
        """Weights as they were at the start, and an optimiser that remembers nothing."""
        self.learning.reset()

    @torch.no_grad()
    def features(self, images: Tensor) -> Features:
        """What does not depend on what is learned: float images (n, 3, h, w) in [0, 1] -> tensors (n, ...)."""
        return self._cut(images).prefix(images)

    @torch.no_grad()
    def view_features(self, views: Tensor) -> Features:
        """The same of an image's views, in their precision."""
        parts = self._cut(views)
        with autocast(self.memo.precision, views.device):
            return parts.prefix(views)

    def gradients(self, features: Features) -> tuple[Tensor, ...]:
        """Of the marginal entropy over one image's views, by tuned tensor in the selection's order."""
        assert self._parts is not None, "features come first"
        with torch.enable_grad():
            with autocast(self.memo.precision, features[0].device):
                logits = self._parts.suffix(*features)
            return torch.autograd.grad(marginal_entropy(logits.float()), self.parameters)

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """One step of the optimiser along these gradients; tensors with None stay where they are."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.learning.optimizer.step()
        self.learning.optimizer.zero_grad()

    @torch.no_grad()
    def predict(self, features: Features) -> Tensor:
        """Logits (n, classes) with the present weights."""
        assert self._parts is not None, "features come first"
        return self._parts.suffix(*features)

    def _cut(self, images: Tensor) -> Split:
        """The network cut where learning begins, checked on the first two images that come."""
        if self._parts is None:
            example = torch.cat([images, images])[:2]
            parts = split(self.network, self._graph, self.selection.parameters, example)
            parts.prefix.eval()
            parts.suffix.eval()
            self._parts = parts
        return self._parts
