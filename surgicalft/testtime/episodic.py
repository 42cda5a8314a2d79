"""Episodic adaptation: each image by itself, from the source model, with an optimiser that remembers nothing.

Episodes do not depend on each other, so many go on at once, a copy of the network for each core. All of them begin
with a gradient at the source model's weights, whatever the learning rate, decay or optimiser, and whichever tensors
learn: runs that share a `FirstStep` compute it once.
"""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surgicalft.allocator import keep_freed_memory
from surgicalft.blocks import Selection
from surgicalft.evaluate import to_float
from surgicalft.given_network import copy_network
from surgicalft.memory import side_by_side
from surgicalft.testtime.images import as_bytes, check_seeds
from surgicalft.testtime.memo import Learner, Memo

Gradients = dict[str, Tensor]
CHUNK_BYTES = 2**25  # of views drawn at once


class FirstStep:
    """Gradients of the marginal entropy at the source model's weights, image by image; kept while there is room.

    `selection` is what all runs that share it tune, together. An image is known by its seed, which its views were
    drawn with: one object serves one network, one stream, one kind, number and precision of views.
    """

    def __init__(
        self,
        network: nn.Module,
        selection: Selection,
        memo: Memo,
        limit: int = 2**31,  # bytes
    ) -> None:
        self._make = lambda: Learner(copy_network(network), selection, memo)
        self._learners: list[Learner] = []
        self._kept: dict[int, Gradients] = {}
        self._room = limit
        self.lock = threading.Lock()  # runs that share it take turns

    def hire(self, jobs: int) -> None:
        """Have copies of the network for so many threads."""
        self._learners += [self._make() for _ in range(jobs - len(self._learners))]

    def gradients(self, job: int, images: Tensor, seeds: Sequence[int]) -> list[Gradients]:
        """By image: name -> gradient; `images` are uint8 (m, 3, h, w), `job` is the thread's number."""
        missing = [i for i, seed in enumerate(seeds) if seed not in self._kept]
        found = {seed: self._kept[seed] for seed in seeds if seed in self._kept}
        if missing:
            learner, own = self._learners[job], [seeds[i] for i in missing]
            for seed, views in zip(own, learner.memo.draw(images[missing], own), strict=True):
                gradients = learner.gradients(learner.ready(views))
                found[seed] = dict(zip(learner.selection.parameters, gradients, strict=True))
                self._keep(seed, found[seed])
        return [found[seed] for seed in seeds]

    def _keep(self, seed: int, gradients: Gradients) -> None:
        self._room -= (size := sum(g.nbytes for g in gradients.values()))
        if self._room >= 0:
            self._kept[seed] = gradients
        else:
            self._room += size


class Episodic:
    """Adapts to each image and predicts it; nothing is kept from one image to the next.

    The network is copied, not changed. `first` may be shared with other runs on the same images. On a CPU as many
    episodes go on at once as PyTorch may use threads, with one thread each: bits do not depend on their number.
    """

    def __init__(
        self,
        network: nn.Module,
        selection: Selection,
        memo: Memo,
        first: FirstStep | None = None,
    ) -> None:
        self._make = lambda: Learner(copy_network(network), selection, memo)
        self._first = first or FirstStep(network, selection, memo)
        self._learners: list[Learner] = [
            self._make()
        ]  # a selection without tensors is refused here
        self.device = next(network.parameters()).device
        self.memo = memo

    def __call__(self, images: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
        """Logits (n, classes) of images (n, 3, h, w), bytes or numbers in [0, 1].

        `seeds`, one for each image, draw its views: 0, 1, ... where there are none. Raises ValueError for images that
        `surgicalft.testtime.images.as_bytes` refuses.
        """
        keep_freed_memory()
        images, seeds = as_bytes(images), check_seeds(seeds, len(images))
        jobs = min(torch.get_num_threads() if self.device.type == "cpu" else 1, len(images))
        self._learners += [self._make() for _ in range(jobs - len(self._learners))]
        parts = [part.tolist() for part in torch.arange(len(images)).tensor_split(jobs)]
        shares = [(job, images[part], [seeds[i] for i in part]) for job, part in enumerate(parts)]
        with self._first.lock:
            self._first.hire(jobs)
            return torch.cat(side_by_side(lambda s: self._share(*s), shares, self.device.type))

    def _share(self, job: int, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """One thread's images, as many at a time as have their views in little memory."""
        size = max(1, CHUNK_BYTES // (4 * self.memo.augmentations * images[0].numel()))
        outputs = []
        for i in range(0, len(images), size):
            some = images[i : i + size].to(self.device), seeds[i : i + size]
            first = self._first.gradients(job, *some)
            for image, seed, gradients in zip(*some, first, strict=True):
                outputs.append(self._episode(self._learners[job], image[None], seed, gradients))
        return torch.cat(outputs)

    def _episode(self, learner: Learner, image: Tensor, seed: int, first: Gradients) -> Tensor:
        learner.reset()
        learner.step([first[name] for name in learner.selection.parameters])
        for step in range(1, self.memo.steps):
            views = self.memo.draw(image, [seed], step)[0]
            learner.step(learner.gradients(learner.ready(views)))
        return learner.predict(learner.ready(to_float(image, self.device, learner.form)))
