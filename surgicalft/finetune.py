"""Supervised fine-tuning of a selection of parameters, with early stopping on target validation images.

Equation 1 of the paper: minimise over the selected parameters, all others fixed at their pre-trained values,
the mean cross-entropy over the target's tuning images. Nothing that cannot change is computed twice: see
`surgicalft.split`. The test images are read once, at the chosen epoch.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.allocator import keep_freed_memory
from surgicalft.blocks import Selection
from surgicalft.evaluate import percent_correct, to_float
from surgicalft.features import FeatureCache
from surgicalft.freezing import freeze, trainable
from surgicalft.optimizers import make_optimizer, make_schedule
from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled, Splits
from surgicalft.shifts.groups import group_accuracies, worst_group
from surgicalft.split import Features, split, trace

EVALUATION_BATCH = 250
Metrics = dict[str, float]


@dataclass(frozen=True)
class FineTune:
    """How to learn: by default Adam with L2 weight decay, as in the authors' code. An epoch is one pass."""

    learning_rate: float
    epochs: int = 15
    batch_size: int = 64
    weight_decay: float = 1e-4
    norm: str = "eval"  # normalisation policy, see surgicalft.freezing
    seed: int = 0  # orders the batches
    optimizer: str = "adam"  # or another of surgicalft.optimizers
    schedule: str = "constant"


@dataclass(frozen=True)
class Tuned:
    """What a run found: metrics per epoch, the chosen epoch (0 = untuned), accuracies in percent."""

    history: list[Metrics]
    epoch: int
    valid_accuracy: float
    valid_loss: float
    test_accuracy: float
    n_test: int
    metrics: Metrics = field(
        default_factory=dict
    )  # of the test: worst_group, where there are groups


class Diverged(RuntimeError):
    """The loss became NaN or infinite; `history` holds the epochs so far."""

    def __init__(self, message: str, history: list[Metrics]) -> None:
        super().__init__(message)
        self.history = history


@dataclass(frozen=True)
class _Known:
    """Features (n, ...) that stay the same all along, or images as bytes, and labels (n,)."""

    features: Features
    labels: Tensor

    def __getitem__(self, index: Tensor | slice) -> Features:
        """These rows as the suffix takes them."""
        rows = (tensor[index] for tensor in self.features)
        return tuple(to_float(x, x.device) if x.dtype == torch.uint8 else x for x in rows)

    def batches(self) -> Iterable[Features]:
        starts = range(0, len(self.labels), EVALUATION_BATCH)
        return (self[start : start + EVALUATION_BATCH] for start in starts)


def fine_tune(
    model: nn.Module,
    selection: Selection,
    splits: Splits,
    settings: FineTune,
    device: str = "cpu",
    features: FeatureCache | None = None,
    reuse: bool = True,
) -> Tuned:
    """Tune `selection` of `model` in place and leave it with the weights of the chosen epoch.

    The chosen epoch has the highest validation accuracy; ties go to the lower validation loss, then to the
    earlier epoch. `features` shares the outputs of frozen prefixes between runs that start from the same
    weights on the same splits; `reuse=False` takes the plain path, which gives the same numbers to rounding.

    Raises Diverged where a loss is not finite, ValueError for labels that the network has no output for.
    """
    keep_freed_memory()
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze(model, selection, settings.norm)
    features = features or FeatureCache(trace(model) if reuse else None)
    fixed = settings.norm != "train"  # batch statistics in front of the cut change with the batch
    example = to_float(splits.tune.images[:2], device)
    graph = features.graph if reuse and fixed else None
    parts = split(model, graph, selection.parameters, example)
    tune, valid = (
        _Known(features.get(parts, name, data.images, device), data.labels.to(device))
        for name, data in (("tune", splits.tune), ("valid", splits.valid))
    )
    _check_labels(parts.suffix, tune, splits)
    history, epoch = _learn(model, parts.suffix, tune, valid, settings)
    chosen = history[epoch - 1] if epoch else _validate(parts.suffix, valid)
    test_batches = features.batches(parts, "test", splits.test.images, device, EVALUATION_BATCH)
    predictions = _outputs(parts.suffix, test_batches).argmax(1).cpu()
    return Tuned(
        history,
        epoch,
        chosen["valid_accuracy"],
        chosen["valid_loss"],
        percent_correct(predictions, splits.test.labels),
        len(splits.test),
        _group_metrics(predictions, splits.test),
    )


@torch.no_grad()
def _outputs(suffix: nn.Module, batches: Iterable[Features]) -> Tensor:
    """Logits (n, classes), in eval mode."""
    suffix.eval()
    return torch.cat([suffix(*batch) for batch in batches])


def _validate(suffix: nn.Module, valid: _Known) -> Metrics:
    outputs = _outputs(suffix, valid.batches())
    accuracy = percent_correct(outputs.argmax(1), valid.labels)
    return {
        "valid_accuracy": accuracy,
        "valid_loss": F.cross_entropy(outputs, valid.labels).item(),
    }


def _group_metrics(predictions: Tensor, test: Labelled) -> Metrics:
    if test.groups is None:
        return {}
    groups = group_accuracies(predictions, test.labels, test.groups)
    return {"worst_group": worst_group(groups)[1]}


def _learn(
    model: nn.Module, suffix: nn.Module, tune: _Known, valid: _Known, settings: FineTune
) -> tuple[list[Metrics], int]:
    """Run all epochs, put the chosen one's weights back; returns the history and that epoch from 1."""
    parameters = trainable(model)
    if not parameters or not settings.epochs:
        return [], 0
    optimizer = make_optimizer(
        settings.optimizer, parameters, settings.learning_rate, settings.weight_decay
    )
    steps = settings.epochs * -(-len(tune.labels) // settings.batch_size)
    schedule = make_schedule(settings.schedule, optimizer, steps)
    history: list[Metrics] = []
    best, weights = (-math.inf, -math.inf), {}
    for epoch in range(settings.epochs):
        loss = _epoch(suffix, tune, optimizer, schedule, settings, epoch)
        history.append({"train_loss": loss, **_validate(suffix, valid)})
        _check_finite(history)
        rank = (history[-1]["valid_accuracy"], -history[-1]["valid_loss"])
        if rank > best:
            best, chosen, weights = rank, epoch + 1, _changing(model)
    model.load_state_dict(weights, strict=False)
    return history, chosen


def _epoch(
    suffix: nn.Module,
    tune: _Known,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None,
    settings: FineTune,
    epoch: int,
) -> float:
    """One pass in an order drawn from (seed, epoch); returns the mean loss."""
    suffix.train()
    n = len(tune.labels)
    order = torch.randperm(n, generator=generator("order", settings.seed, epoch))
    total = torch.zeros((), device=tune.labels.device)
    for index in order.to(tune.labels.device).split(settings.batch_size):
        outputs = suffix(*tune[index])
        loss = F.cross_entropy(outputs, tune.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
        total += loss.detach() * len(index)
    return total.item() / n


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what an epoch may change: tuned parameters, and the buffers of normalisation layers."""
    tuned = {name for name, value in model.named_parameters() if value.requires_grad}
    frozen = {name for name, _ in model.named_parameters()} - tuned
    return {k: v.clone() for k, v in model.state_dict().items() if k not in frozen}


def _check_finite(history: list[Metrics]) -> None:
    bad = {name: value for name, value in history[-1].items() if not math.isfinite(value)}
    if bad:
        raise Diverged(f"training diverged in epoch {len(history)}: {bad}", history)


@torch.no_grad()
def _check_labels(suffix: nn.Module, tune: _Known, splits: Splits) -> None:
    classes = suffix.eval()(*tune[:1]).shape[1]
    for name in ("tune", "valid", "test"):
        labels = getattr(splits, name).labels
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"{name} labels must lie in 0..{classes - 1}, the network's outputs; "
                f"found {int(labels.min())}..{int(labels.max())}"
            )
