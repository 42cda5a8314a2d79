"""What learns: the selected tensors of a network, their optimiser, the way back, and what a stopped stream keeps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surgicalft.blocks import Selection


class Learning:
    """The tensors `selection` of `network`, which learn in place; `make` gives an optimiser of tensors.

    Raises ValueError for a selection without tensors.
    """

    def __init__(
        self,
        network: nn.Module,
        selection: Selection,
        make: Callable[[Sequence[nn.Parameter]], Optimizer],
    ) -> None:
        if not selection.parameters:
            raise ValueError(
                f"selection {selection.name!r} has no tensors, so nothing can adapt; the network "
                f"has {[name for name, _ in network.named_parameters()]}"
            )
        self.named = {name: network.get_parameter(name) for name in selection.parameters}
        self.optimizer = make(list(self.named.values()))
        self._start = {name: tensor.detach().clone() for name, tensor in self.named.items()}

    @torch.no_grad()
    def reset(self) -> None:
        """Weights as they were at the start, and an optimiser that remembers nothing."""
        for name, tensor in self.named.items():
            tensor.copy_(self._start[name])
        self.optimizer.state.clear()

    def state(self) -> dict[str, Tensor]:
        """Weights, and what the optimiser remembers of them."""
        found = {}
        for name, tensor in self.named.items():
            found[f"weights/{name}"] = tensor.detach().clone()
            for entry, value in self.optimizer.state.get(tensor, {}).items():
                if value is not None:  # SGD without momentum notes that it has none
                    found[f"optimizer/{entry}/{name}"] = value.clone()
        return found

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave, to the same bits; ValueError where it is of other tensors."""
        there = {key.removeprefix("weights/") for key in state if key.startswith("weights/")}
        if there != set(self.named):
            raise ValueError(f"the state is of {sorted(there)}, not of {list(self.named)}")
        self.reset()
        for key, value in state.items():
            kind, *rest = key.split("/", 2)
            if kind == "weights":
                self.named[rest[0]].copy_(value)
            elif kind == "optimizer":
                tensor = self.named[rest[1]]
                self.optimizer.state[tensor][rest[0]] = value.to(tensor.device, copy=True)
