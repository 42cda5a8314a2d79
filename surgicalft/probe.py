"""Gradients at the present weights, on tuning images: what a method looks at before an epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.evaluate import ImageForm, to_float
from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled

Gradients = dict[str, Tensor]


class Probe:
    """Gradients of the cross-entropy with respect to the tensors `names`, in eval mode.

    Batches are drawn anew in each epoch, from (seed, epoch), among the images to tune on. Weights, flags and modes
    of the model stay as they are. `seen` is told the number of images of each gradient, for the count of costs.
    """

    def __init__(
        self,
        model: nn.Module,
        names: tuple[str, ...],
        tune: Labelled,
        batch_size: int,
        seed: int,
        device: str = "cpu",
        seen: Callable[[int], None] = lambda images: None,
    ) -> None:
        self.model, self.names, self.device = model, names, device
        self._tune, self._batch_size, self._seed, self._seen = tune, batch_size, seed, seen
        self.epoch = 0

    def parameters(self) -> Gradients:
        """The tensors themselves, without their graph."""
        known = dict(self.model.named_parameters())
        return {name: known[name].detach() for name in self.names}

    def gradients(self, batches: int) -> list[Gradients]:
        """The gradient of the mean loss of each of so many batches (fewer, where the images do not suffice)."""
        with self._all_learn() as parameters:
            return [self._gradient(parameters, *batch) for batch in self._batches(batches)]

    def per_input(self, compute: Callable[..., Any]) -> Any:
        """`compute(model, images, labels, names)` on one batch: images float (n, c, h, w), labels (n,)."""
        images, labels = next(self._batches(1))
        self._seen(len(labels))
        return compute(self.model, images, labels, self.names)

    def _gradient(self, parameters: list[Tensor], images: Tensor, labels: Tensor) -> Gradients:
        self._seen(len(labels))
        loss = F.cross_entropy(self.model(images), labels)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(self.names, parameters, found, strict=True)
        return {name: torch.zeros_like(p) if g is None else g for name, p, g in pairs}

    def _batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self._tune)
        order = torch.randperm(n, generator=generator("probe", self._seed, self.epoch))
        for index in order.split(self._batch_size)[:count]:
            batch = self._tune.take(index)
            yield (
                to_float(batch.images, self.device, ImageForm.of(self.model)),
                batch.labels.to(self.device),
            )

    @contextmanager
    def _all_learn(self) -> Iterator[list[Tensor]]:
        known = dict(self.model.named_parameters())
        parameters = [known[name] for name in self.names]
        flags = [parameter.requires_grad for parameter in parameters]
        training = self.model.training
        self.model.eval()
        for parameter in parameters:
            parameter.requires_grad_(True)
        try:
            yield list(parameters)
        finally:
            for parameter, flag in zip(parameters, flags, strict=True):
                parameter.requires_grad_(flag)
            self.model.train(training)
