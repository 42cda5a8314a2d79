"""What executes runs of test-time adaptation: source models, streams and shared first steps, loaded once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.evaluate import logits
from surgicalft.given_network import copy_network
from surgicalft.models.zoo import load_network
from surgicalft.recent import Recent
from surgicalft.seeds import derive_seed
from surgicalft.settings import check_device, identity
from surgicalft.shifts import Labelled, get_scenario, load_source
from surgicalft.testtime.batch_prior import use_prior
from surgicalft.testtime.episodic import Episodic, FirstStep
from surgicalft.testtime.follow import Adapter, Keeper, follow
from surgicalft.testtime.gala import Gala
from surgicalft.testtime.online import Online
from surgicalft.testtime.runs import StreamRun, check
from surgicalft.testtime.streams import copies, stream
from surgicalft.testtime.tent import Tent


class StreamExecutor:
    """Executes runs in this process, for `surgicalft.sweep.engine.run_all`, one run at a time on all threads.

    `progress_dir`: where online runs leave their state every `every` images, to go on from there when they are asked
    for again; None: nowhere.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        device: str = "cpu",
        progress: bool = True,
        progress_dir: Path | None = None,
        every: int = 200,
    ) -> None:
        check_device(device, here=False)  # workers elsewhere may have one
        self.data_dir, self.device, self.progress = data_dir, device, progress
        self.progress_dir, self.every = progress_dir, every
        self._starts: dict[tuple[Any, ...], nn.Module] = {}
        self._streams: Recent[tuple[Labelled, str]] = Recent(2)
        self._firsts: Recent[FirstStep] = Recent(1)  # it may be large
        # Of the runs that share a first step, what they tune together; no entry ever shrinks.
        self._tuned: dict[tuple[Any, ...], frozenset[str]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process travel the settings, and what runs tune together; what was loaded stays here."""
        settings = (self.data_dir, self.device, False, self.progress_dir, self.every)
        return type(self), settings, {"_tuned": dict(self._tuned)}

    def prepare(self, runs: Sequence[StreamRun]) -> None:
        """Check all runs, then load or train their source models.

        Episodic runs that are prepared together compute their first gradients once. A run that was not prepared may be
        called, too; first gradients are then computed again once they do not cover what it tunes.

        Raises ValueError for a scenario, model or selection that does not exist, before anything is computed.
        """
        for run in runs:
            check(run)
        for run in runs:
            tuned = self._selection(run).parameters
            if run.mode == "episodic":
                self._together(run, tuned)

    def __call__(self, run: StreamRun) -> dict[str, Any]:
        """The fields of the run's record that are known here."""
        self.prepare([run])
        images, provenance = self._streams.get(_stream_key(run), lambda: self._stream(run))
        seeds = [derive_seed("views", run.seed, i) for i in range(len(images))]
        online = run.mode == "online" and run.selection != "none"
        keeper = Keeper(self.progress_dir if online else None, identity(run))
        adapter, every = self._adapter(run), max(1, self.every // run.batch_size) * run.batch_size
        outcome = follow(adapter, images, seeds, keeper, every, run.reset, self.progress)
        return {**outcome.record(), "provenance": provenance, "device": self.device}

    def _together(self, run: StreamRun, tuned: Sequence[str]) -> frozenset[str]:
        """What the runs that share a first step with this one tune, as far as they are known."""
        key = _first_key(run)
        covered = self._tuned.get(key, frozenset()).union(tuned)
        self._tuned[key] = covered
        return covered

    def _start(self, run: StreamRun) -> nn.Module:
        key = (run.model, run.pretrain, run.prior)
        if key not in self._starts:
            how = (self.data_dir, self.device, self.progress)
            network = load_network(run.model, run.pretrain, *how)
            if run.prior is not None:
                use_prior(network, run.prior)
            self._starts[key] = network
        return self._starts[key]

    def _selection(self, run: StreamRun) -> Selection:
        return Blocks.of(self._start(run)).select(run.selection)

    def _stream(self, run: StreamRun) -> tuple[Labelled, str]:
        target = get_scenario(run.scenario).load(self.data_dir)
        left_out = self._copies(run, len(target.pool)) if run.without else None
        which = (run.skip, run.n_images, run.per_class, left_out)
        return stream(target.pool, target.classes, run.seed, *which), target.provenance

    def _copies(self, run: StreamRun, n: int) -> Tensor:
        """Looked for among the clean images that the scenario's were made from: corrupted ones are not recognised."""
        source = get_scenario(run.scenario).source
        clean, others = (
            load_source(name, self.data_dir).test.images for name in (source, run.without)
        )
        found = copies(clean, others)
        if len(clean) != n or not len(found):
            raise ValueError(
                f"without={run.without!r}: {len(found)} copies among the {len(clean)} test images of {source!r}, and "
                f"{run.scenario!r} has {n}: which of its images to leave out cannot be told"
            )
        return found

    def _adapter(self, run: StreamRun) -> Adapter:
        start, selection, memo = self._start(run), self._selection(run), run.memo()
        if run.selection == "none":
            return Unchanged(start, self.device, 500 if run.prior is None else 1)
        if run.method == "tent":
            network = copy_network(start)
            tent = Tent(network, selection, run.learning_rate, run.optimizer, run.weight_decay)
            return Batches(tent, run.batch_size)
        if run.mode == "online":
            kind = Gala if run.method == "gala" else Online
            return kind(start, selection, memo)
        covered = self._together(run, selection.parameters)

        def make() -> FirstStep:
            tuned = [name for name, _ in start.named_parameters() if name in covered]
            together = Blocks.of(start).select(tuned)
            return FirstStep(start, together, memo)

        first = self._firsts.get((*_first_key(run), covered), make)
        return Episodes(Episodic(start, selection, memo, first))


def _stream_key(run: StreamRun) -> tuple[Any, ...]:
    return (run.scenario, run.seed, run.skip, run.n_images, run.per_class, run.without)


def _first_key(run: StreamRun) -> tuple[Any, ...]:
    """What decides the first gradients of episodes."""
    views = (run.augmentations, run.crop, run.flip, run.precision)
    return (run.model, run.pretrain, run.prior, *_stream_key(run), *views)


class _Forgetful:
    """Nothing goes on to the next image."""

    def reset(self) -> None:
        """There is nothing to set back."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Nothing."""


class Unchanged(_Forgetful):
    """No adaptation; one image at a time where outputs depend on the rest of a batch."""

    def __init__(self, network: nn.Module, device: str, batch_size: int) -> None:
        self.network, self.device, self.batch_size = network, device, batch_size

    def __call__(self, images: Tensor, seeds: Sequence[int]) -> Iterator[Tensor]:
        yield from logits(self.network, images, self.device, self.batch_size)


class Episodes(_Forgetful):
    """Episodic adaptation as an adapter to streams."""

    def __init__(self, episodic: Episodic) -> None:
        self.episodic = episodic

    def __call__(self, images: Tensor, seeds: Sequence[int]) -> Iterator[Tensor]:
        yield from self.episodic(images, seeds)


class Batches:
    """A method that takes several images at once."""

    def __init__(self, method: Tent, size: int) -> None:
        self.method, self.size = method, size
        self.reset, self.state, self.load_state = method.reset, method.state, method.load_state

    def __call__(self, images: Tensor, seeds: Sequence[int]) -> Iterator[Tensor]:
        for batch in images.split(self.size):
            yield from self.method(batch)
