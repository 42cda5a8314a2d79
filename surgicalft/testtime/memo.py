"""MEMO: learn from one unlabelled image by making the predictions on augmented views of it agree and be certain.

Source: Zhang, Levine and Finn (2022), "MEMO: Test Time Robustness via Adaptation and Augmentation"; which tensors
learn is the question of Lee et al. (2023), section 2.2 and appendix A.6.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surgicalft.blocks import Selection
from surgicalft.evaluate import ImageForm
from surgicalft.freezing import freeze
from surgicalft.given_network import copy_network
from surgicalft.optimizers import OPTIMIZERS, make_optimizer
from surgicalft.precision import PRECISIONS, autocast
from surgicalft.reuse import Answering, Leaf
from surgicalft.seeds import derive_seed
from surgicalft.settings import check_choice
from surgicalft.testtime.augment import AugMix, augment
from surgicalft.testtime.entropy import marginal_entropy
from surgicalft.testtime.learning import Learning
from surgicalft.trial import Conditions, find_plan


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


@dataclass(frozen=True)
class Ready:
    """Float images (n, 3, h, w), and what the network's frozen modules gave for them, if that was computed apart."""

    images: Tensor
    kept: dict[Leaf, Tensor] | None = None


class Learner:
    """A network in evaluation mode whose `selection` learns in place, and which knows the way back.

    No frozen weight gets a gradient. `ready` may be called by other threads while this one learns: with
    `prepare`, it computes what does not depend on what is learned. Raises ValueError for a selection without tensors.
    """

    def __init__(self, network: nn.Module, selection: Selection, memo: Memo) -> None:
        self.learning = Learning(network, selection, memo.optimizer_of)
        freeze(network, selection)
        self.network, self.selection, self.memo = network.eval(), selection, memo
        self.form = ImageForm.of(network)
        self.parameters = list(self.learning.named.values())
        self._answering: dict[str, Answering] = {}  # by precision
        self._helpers: dict[str, SimpleQueue[Answering]] = {}

    def reset(self) -> None:
        """Weights as they were at the start, and an optimiser that remembers nothing."""
        self.learning.reset()

    def prepare(self, images: Tensor, helpers: int) -> None:
        """Find out what may be computed apart, on images like these, by so many threads at once."""
        for precision in dict.fromkeys((self.memo.precision, "float32")):
            if precision in self._answering:
                continue
            passes = partial(autocast, precision, images.device)
            how = Conditions(training=False, rows=False, passes=passes)
            plan = find_plan(self.network, self.selection.parameters, images, how)
            self._answering[precision] = Answering(self.network, plan)
            self._helpers[precision] = SimpleQueue()
            for _ in range(helpers):
                self._helpers[precision].put(Answering(copy_network(self.network), plan))

    def ready(self, images: Tensor, precision: str = "float32") -> Ready:
        """Images (n, 3, h, w) in [0, 1] for a pass in that precision."""
        plan = self._answering[precision].plan if precision in self._answering else None
        if not plan:
            return Ready(images)
        helper = self._helpers[precision].get()
        try:
            with autocast(precision, images.device):
                return Ready(images, helper.remember(images))
        finally:
            self._helpers[precision].put(helper)

    def gradients(self, views: Ready) -> tuple[Tensor, ...]:
        """Of the marginal entropy over one image's views, by tuned tensor in the selection's order."""
        with torch.enable_grad():
            logits = self._pass(views, self.memo.precision)
            return torch.autograd.grad(marginal_entropy(logits.float()), self.parameters)

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """One step of the optimiser along these gradients; tensors with None stay where they are."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.learning.optimizer.step()
        self.learning.optimizer.zero_grad()

    @torch.no_grad()
    def predict(self, images: Ready) -> Tensor:
        """Logits (n, classes) with the present weights."""
        return self._pass(images, "float32")

    def _pass(self, ready: Ready, precision: str) -> Tensor:
        with autocast(precision, ready.images.device):
            if ready.kept is None:
                logits: Tensor = self.network(ready.images)
            else:
                logits = self._answering[precision](ready.images, ready.kept)
            return logits
