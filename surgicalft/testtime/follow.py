"""Follows a stream with a network that adapts, from where it was left."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor
from tqdm import tqdm

from surgicalft.shifts import Labelled
from surgicalft.shifts.image_files import as_tensor
from surgicalft.testtime.collapse import Watch
from surgicalft.testtime.images import as_bytes
from surgicalft.testtime.outcome import Outcome
from surgicalft.testtime.progress_file import load_progress, save_progress


class Adapter(Protocol):
    """What learns from a stream."""

    def __call__(self, images: Tensor, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Logits of uint8 images (n, 3, h, w), one after the other."""

    def reset(self) -> None:
        """Back to the source model."""

    def state(self) -> dict[str, Tensor]:
        """What goes on to the next image."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """What `state` gave."""


class Keeper:
    """Keeps a run's progress in a file; without a folder, not at all."""

    def __init__(self, folder: Path | None, run: str) -> None:
        self.path, self.run = folder and folder / f"{run}.safetensors", run

    def load(self, adapter: Adapter, watch: Watch) -> Outcome:
        """What has been seen so far; CheckpointError where the file is not to be trusted."""
        if self.path is None or not self.path.is_file():
            return Outcome()
        state, facts = load_progress(self.path, self.run)
        adapter.load_state(state)
        watch.load_state(facts["watch"])
        return Outcome(**facts["outcome"])

    def save(self, adapter: Adapter, watch: Watch, outcome: Outcome) -> None:
        """The position in the stream is the number of outcomes; seeds follow from it."""
        if self.path is not None:
            facts = {"outcome": outcome.state(), "watch": watch.state()}
            save_progress(self.path, self.run, adapter.state(), facts)

    def done(self) -> None:
        """Its record tells all."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def follow(
    adapter: Adapter,
    stream: Labelled,
    seeds: Sequence[int],
    keeper: Keeper,
    every: int = 200,
    reset: bool = False,
    progress: bool = False,
) -> Outcome:
    """Every prediction of the stream; progress is kept every `every` images, a few batches' worth.

    Collapse (`surgicalft.testtime.collapse`) is noted, and answered by a reset if asked.
    """
    watch = Watch()
    outcome = keeper.load(adapter, watch)
    n, begun = len(stream), len(outcome)
    size = as_tensor(stream.images[:1]).shape[1:]
    with tqdm(total=n, initial=begun, unit="image", leave=False, disable=not progress) as bar:
        for start in range(begun, n, every):
            part = slice(start, min(start + every, n))
            images = as_bytes(as_tensor(stream.images[part]), tuple(size))
            outputs = adapter(images, seeds[part])
            for logits, label in zip(outputs, stream.labels[part].tolist(), strict=True):
                outcome.add(logits, label)
                bar.update()
                if watch(logits):
                    outcome.note_collapse(reset)
                    if reset:
                        adapter.reset()
                        watch.forget()
            if part.stop < n:
                keeper.save(adapter, watch, outcome)
    keeper.done()
    return outcome
