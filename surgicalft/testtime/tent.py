"""TENT: learn from a batch of unlabelled images by making each prediction more certain.

Source: Wang et al. (2021), "Tent: Fully Test-Time Adaptation by Entropy Minimization", whose scales and shifts are
the selection "norms".
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from surgicalft.blocks import Selection
from surgicalft.evaluate import ImageForm, to_float
from surgicalft.freezing import freeze
from surgicalft.optimizers import make_optimizer
from surgicalft.testtime.entropy import entropy
from surgicalft.testtime.images import as_bytes
from surgicalft.testtime.learning import Learning


class Tent:
    """Predicts a batch, and learns from it for the next: one step on the mean entropy of the predictions.

    `selection` of `network` learns, in place; no weight decay unless asked for. TENT's optimisers are "adam" at a
    learning rate of 1e-3 and "sgd", whose momentum is 0.9. BatchNorm uses the statistics of each batch; the stored
    ones are neither used nor changed. All else is in evaluation mode, while the published code has the whole network
    in training mode: that differs for networks with dropout or stochastic depth alone.

    Raises ValueError for a selection without tensors, for an unknown optimiser, and for a bad learning rate.
    """

    def __init__(
        self,
        network: nn.Module,
        selection: Selection,
        learning_rate: float,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
    ) -> None:
        self.network, self.selection = network, selection
        rates = (learning_rate, weight_decay)
        self.learning = Learning(
            network, selection, lambda tensors: make_optimizer(optimizer, tensors, *rates)
        )
        freeze(network, selection, norm="train")
        self._norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
        for norm in self._norms:
            norm.track_running_stats = False  # in training mode, stored statistics stay as they are

    @torch.enable_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, h, w) with the weights before the step.

        Images are bytes, or floating-point numbers in [0, 1]; ValueError for others and for an empty batch.
        """
        device = next(self.network.parameters()).device
        x = to_float(as_bytes(images), device, ImageForm.of(self.network))
        self.network.eval()
        for norm in self._norms:
            norm.train()
        logits: Tensor = self.network(x)
        entropy(logits).mean().backward()
        self.learning.optimizer.step()
        self.learning.optimizer.zero_grad()
        return logits.detach()

    def reset(self) -> None:
        """Weights as they were at the start, and an optimiser that remembers nothing."""
        self.learning.reset()

    def state(self) -> dict[str, Tensor]:
        """Weights that learn, and what the optimiser remembers of them."""
        return self.learning.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave: bit-identically; ValueError where it is of other tensors."""
        self.learning.load_state(state)
