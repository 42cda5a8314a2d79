"""The training loop of source models: in phases, resumable by epoch, the best epoch's weights are kept."""

import math
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from surgicalft.ahead import ahead
from surgicalft.blocks import Blocks
from surgicalft.evaluate import accuracy, to_float
from surgicalft.freezing import freeze, trainable, unfreeze
from surgicalft.models.augmentation import apply, draw
from surgicalft.models.recipe import Phase, Pretrain
from surgicalft.optimizers import make_optimizer, make_schedule
from surgicalft.precision import autocast
from surgicalft.seeds import derive_seed, generator
from surgicalft.shifts.base import Labelled, Source


@dataclass
class Progress:
    """What a training that was stopped goes on from: the epochs so far, the best weights, all states."""

    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        return len(self.history)

    @classmethod
    def read(cls, path: Path | None) -> "Progress":
        """From that file; from the start where there is none, or where it is damaged, which is said."""
        if path is None or not path.exists():
            return cls()
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, EOFError, OSError, TypeError, pickle.UnpicklingError) as error:
            warnings.warn(f"{path} is damaged, training starts anew: {error}", stacklevel=2)
            return cls()

    def write(self, path: Path) -> None:
        """Beside, then renamed: a kill leaves the epoch before."""
        beside = path.with_suffix(".writing")
        torch.save(vars(self), beside)
        beside.replace(path)


def train(
    network: nn.Module,
    source: Source,
    settings: Pretrain,
    device: str = "cpu",
    progress: bool = True,
    resume: Path | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Train in place, leave the weights of the best epoch in `network`, return what to remember.

    The best epoch has the highest accuracy on the source's validation images. `resume` is a file in which
    each epoch leaves all that the next one needs, so that a killed training goes on, bit for bit as if it had
    not been (on a CPU). `workers` threads make batches ahead of their use; results do not depend on them.

    Raises ValueError for a source without training images, RuntimeError where the loss is not finite.
    """
    if not len(source.train):
        raise ValueError(f"source {settings.source!r} has no training images: {source.provenance}")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    done = Progress.read(resume)
    if done.network:
        network.load_state_dict(done.network)
    with tqdm(
        total=settings.epochs,
        initial=done.epochs,
        desc=f"training on {settings.source}",
        disable=not progress,
    ) as bar:
        for epoch in _epochs(network, source, settings, device, done, workers):
            if resume:
                done.write(resume)
            bar.set_postfix(loss=f"{epoch['train_loss']:.3f}", valid=epoch["valid_accuracy"])
            bar.update()
    network.load_state_dict(done.best)
    return {
        "settings": asdict(settings),
        "provenance": source.provenance,
        "classes": source.classes,
        "n_train": len(source.train),
        "test_accuracy": accuracy(network, source.test, device),
        "n_test": len(source.test),
        "history": done.history,
        "torch": torch.__version__,
        "device": device,
    }


def _epochs(
    network: nn.Module,
    source: Source,
    settings: Pretrain,
    device: str,
    done: Progress,
    workers: int,
) -> Iterator[dict[str, float]]:
    """Train the epochs that are not done yet, phase by phase; note each in `done` and yield its metrics."""
    start = 0
    for phase in settings.phases():
        stop = start + phase.epochs
        if done.epochs < stop:
            optimizer, schedule = _begin(network, phase, settings, len(source.train))
            if done.epochs > start:
                optimizer.load_state_dict(done.optimizer)
                if schedule:
                    schedule.load_state_dict(done.schedule)
            while done.epochs < stop:
                epoch = done.epochs
                loss = _epoch(
                    network, source.train, optimizer, schedule, settings, epoch, device, workers
                )
                valid = accuracy(network, source.valid, device)
                _note(done, network, loss, valid)
                done.optimizer = optimizer.state_dict()
                done.schedule = schedule.state_dict() if schedule else {}
                yield done.history[-1]
        start = stop
    unfreeze(network)


def _begin(
    network: nn.Module, phase: Phase, settings: Pretrain, images: int
) -> tuple[Optimizer, LRScheduler | None]:
    """Freeze what does not learn in this phase; a fresh optimiser and schedule for what does."""
    if phase.selection == "all":
        unfreeze(network)
    else:
        freeze(network, Blocks.of(network).select(phase.selection))
    optimizer = make_optimizer(
        settings.optimizer,
        trainable(network),
        phase.learning_rate,
        settings.weight_decay,
        settings.momentum,
        nesterov=True,
    )
    steps = -(-images // settings.batch_size)
    return optimizer, make_schedule(settings.schedule, optimizer, phase.epochs * steps)


def _note(done: Progress, network: nn.Module, loss: float, valid: float) -> None:
    if not math.isfinite(loss):
        raise RuntimeError(f"source training diverged in epoch {done.epochs + 1}: loss {loss}")
    done.network = {name: value.clone() for name, value in network.state_dict().items()}
    if not done.history or valid > max(past["valid_accuracy"] for past in done.history):
        done.best = done.network
    done.history.append({"train_loss": loss, "valid_accuracy": valid})


def _epoch(
    network: nn.Module,
    data: Labelled,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    settings: Pretrain,
    epoch: int,
    device: str,
    workers: int,
) -> float:
    """One pass over the data in a random order; returns the mean loss."""
    network.train()
    total = torch.zeros((), device=device)
    kind = torch.device(device).type
    with torch.random.fork_rng(devices=None if kind == "cuda" else []):
        torch.manual_seed(derive_seed("noise", settings.seed, epoch))  # of dropout and the like
        for images, labels in _batches(data, settings, epoch, kind == "cuda", workers):
            with autocast(settings.precision, device):
                loss = F.cross_entropy(network(to_float(images, device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            total += loss.detach() * len(labels)
    return total.item() / len(data)


def _batches(
    data: Labelled, settings: Pretrain, epoch: int, pin: bool, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented images and labels, in an order drawn from (seed, epoch)."""
    random = generator("pretrain", settings.seed, epoch)
    order = torch.randperm(len(data), generator=random).split(settings.batch_size)
    size = data.images.shape[-1]
    jobs = ((index, draw(settings.augment, len(index), size, random)) for index in order)

    def make(job: Any) -> tuple[Tensor, Tensor]:
        index, what = job
        images = apply(data.images[index], what)
        return images.pin_memory() if pin else images, data.labels[index]

    return ahead(make, jobs, workers)
