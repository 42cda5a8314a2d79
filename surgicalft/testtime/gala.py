"""GALA-style online adaptation: of the layers that may learn, the one whose step goes on where it has been going.

For each step, with the proposed update u_l = -rate (gradient + decay * weights) of layer l and its displacement
d_l = weights - anchor since the window began,

    c_l = cos(u_l, u_l + d_l),

the layer with the largest c_l moves if c_l > threshold, else none; at a window's first step all do, and the anchor
is set to where they start. Source: Sahoo et al. (2025), "A Layer Selection Approach to Test Time Adaptation", Eq. 5,
with its window of 20 and threshold of 0.75; their losses are others than MEMO's, and of the first steps' smaller
updates, of which the text gives no numbers, there is nothing here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surgicalft.blocks import Selection
from surgicalft.testtime.memo import Memo
from surgicalft.testtime.online import Online, Prepared

WINDOW, THRESHOLD = 20, 0.75


class Gala(Online):
    """Online adaptation of at most one layer at a time; a layer is a module's own tensors among the selection's.

    Raises ValueError for another optimiser than "sgd", whose update is known before the step.
    """

    def __init__(self, network: nn.Module, selection: Selection, memo: Memo) -> None:
        if memo.optimizer != "sgd":
            raise ValueError(f"gala knows the updates of 'sgd' alone, not of {memo.optimizer!r}")
        super().__init__(network, selection, memo)
        self._steps = 0
        self._anchor: list[Tensor] = []
        self._layers: dict[str, list[int]] = {}
        for i, name in enumerate(selection.parameters):
            self._layers.setdefault(name.rpartition(".")[0], []).append(i)

    def reset(self) -> None:
        """Back to the source model, and to the beginning of a window."""
        super().reset()
        self._steps, self._anchor = 0, []

    def _one(self, prepared: Prepared) -> Tensor:
        steps, image = prepared
        for views in steps:
            gradients = self.learner.gradients(views)
            moving = self._moving(gradients)
            chosen = [g if i in moving else None for i, g in enumerate(gradients)]
            self.learner.step(chosen)
        return self.learner.predict(image)[0]

    @torch.no_grad()
    def _moving(self, gradients: Sequence[Tensor]) -> set[int]:
        """The tensors, by number, that take this step."""
        weights = self.learner.parameters
        self._steps += 1
        if (self._steps - 1) % WINDOW == 0:
            self._anchor = [w.detach().clone() for w in weights]
            return set(range(len(weights)))
        memo = self.memo
        updates = [
            -memo.learning_rate * (g + memo.weight_decay * w)
            for g, w in zip(gradients, weights, strict=True)
        ]
        goals = [u + w - a for u, w, a in zip(updates, weights, self._anchor, strict=True)]
        alignment = {layer: _cosine(updates, goals, own) for layer, own in self._layers.items()}
        best = max(alignment, key=alignment.__getitem__)
        return set(self._layers[best]) if alignment[best] > THRESHOLD else set()

    def state(self) -> dict[str, Tensor]:
        """What goes on to the next image: also where the window stands."""
        names = self.learner.selection.parameters
        anchors = dict(zip((f"anchor/{name}" for name in names), self._anchor, strict=False))
        return super().state() | anchors | {"steps": torch.tensor(self._steps)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """What `state` gave."""
        super().load_state(state)
        self._steps = int(state["steps"])
        names = [f"anchor/{name}" for name in self.learner.selection.parameters]
        self._anchor = [state[name].to(self.device, copy=True) for name in names if name in state]


def _cosine(updates: Sequence[Tensor], goals: Sequence[Tensor], own: Sequence[int]) -> float:
    """Of two vectors put together from the tensors `own`; 0 where one of them is nothing."""
    dot = sum(float((updates[i] * goals[i]).sum()) for i in own)
    lengths = [sum(float(v[i].square().sum()) for i in own) ** 0.5 for v in (updates, goals)]
    return dot / (lengths[0] * lengths[1]) if all(lengths) else 0.0
