"""Online adaptation: what was learned from one image is kept for the next.

It is sequential by definition: an image's views pass through the weights that the image before has left. Each step's
forward and backward pass of these views therefore bounds the pace, on as many threads as PyTorch has. All else is made
ahead meanwhile: the views, and what frozen modules in front of what learns give for them.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from surgicalft.ahead import ahead
from surgicalft.allocator import keep_freed_memory
from surgicalft.blocks import Selection
from surgicalft.evaluate import to_float
from surgicalft.given_network import copy_network
from surgicalft.testtime.episodic import CHUNK_BYTES
from surgicalft.testtime.images import as_bytes, check_seeds
from surgicalft.testtime.memo import Learner, Memo, Ready

Prepared = tuple[list[Ready], Ready]  # the views of each step, and the image itself

EXAMPLES = 5  # views that a trial is made with


class Online:
    """Adapts to each image, predicts it, and goes on from there.

    The network is copied, not changed.
    """

    def __init__(self, network: nn.Module, selection: Selection, memo: Memo) -> None:
        self.memo, self.device = memo, next(network.parameters()).device
        self.learner = Learner(copy_network(network), selection, memo)
        self._size: tuple[int, ...] | None = None

    def __call__(self, images: Tensor, seeds: Sequence[int] | None = None) -> Iterator[Tensor]:
        """Logits (classes,) of one image after the other, from images (n, 3, h, w), bytes or numbers in [0, 1].

        `seeds`, one for each image, draw its views: 0, 1, ... where there are none. Weights are those of the image that
        was given out last: stop between two images to look at them. Raises ValueError for images of another size than
        the first, and for those that `surgicalft.testtime.images.as_bytes` refuses.
        """
        keep_freed_memory()
        images = as_bytes(images, self._size)
        self._size = tuple(images.shape[1:])
        seeds = check_seeds(seeds, len(images))
        size = max(1, min(8, CHUNK_BYTES // (4 * self.memo.augmentations * images[0].numel())))
        parts = [slice(i, i + size) for i in range(0, len(images), size)]
        threads = torch.get_num_threads()
        workers = threads if self.device.type == "cpu" else 1
        views = self.memo.draw(images[:1].to(self.device), seeds[:1])[0]
        self.learner.prepare(torch.cat([views] * EXAMPLES)[:EXAMPLES], workers)
        try:
            for part in ahead(lambda part: self._ready(images[part], seeds[part]), parts, workers):
                yield from map(self._one, part)
        finally:
            torch.set_num_threads(threads)

    def reset(self) -> None:
        """Back to the source model."""
        self.learner.reset()

    def _ready(self, images: Tensor, seeds: Sequence[int]) -> list[Prepared]:
        """What can be known of images before the network has learned from those in front of them."""
        torch.set_num_threads(1)  # of this thread
        images, ready = images.to(self.device), self.learner.ready
        drawn = [self.memo.draw(images, seeds, step) for step in range(self.memo.steps)]
        return [
            (
                [ready(views[i], self.memo.precision) for views in drawn],
                ready(to_float(images[i : i + 1], self.device, self.learner.form)),
            )
            for i in range(len(images))
        ]

    def _one(self, prepared: Prepared) -> Tensor:
        steps, image = prepared
        for views in steps:
            self.learner.step(self.learner.gradients(views))
        return self.learner.predict(image)[0]

    def state(self) -> dict[str, Tensor]:
        """Weights that learn, and what the optimiser remembers of them."""
        return self.learner.learning.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """What `state` gave; ValueError where it is of another selection."""
        self.learner.learning.load_state(state)
