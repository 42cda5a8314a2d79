"""The loop of fine-tuning, an epoch at a time: what a method lets learn, behind the cut that this allows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.cost import Meter
from surgicalft.evaluate import percent_correct, to_float
from surgicalft.features import FeatureCache
from surgicalft.freezing import NORM_POLICIES, freeze
from surgicalft.methods.base import Method, Situation, all_of
from surgicalft.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from surgicalft.precision import PRECISIONS, autocast
from surgicalft.probe import Probe
from surgicalft.seeds import generator
from surgicalft.settings import check_fields
from surgicalft.shifts.base import Splits
from surgicalft.split import Features, Split, split, trace

EVALUATION_BATCH = 250
Metrics = dict[str, Any]


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
    precision: str = (
        "float32"  # or "bfloat16", faster where the processor has it: surgicalft.precision
    )

    def __post_init__(self) -> None:
        check_fields(
            self,
            {"batch_size": 1},
            norm=NORM_POLICIES,
            optimizer=OPTIMIZERS,
            schedule=SCHEDULES,
            precision=PRECISIONS,
        )


class Diverged(RuntimeError):
    """The loss became NaN or infinite; `history` holds the epochs so far."""

    def __init__(self, message: str, history: list[Metrics]) -> None:
        super().__init__(message)
        self.history = history


@dataclass(frozen=True)
class Known:
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


class Training:
    """A network while a method tunes it: `epoch()` goes on by one, `restore()` puts the best epoch's weights back.

    The cut lies in front of every tensor that has learned so far, and moves when another one begins to.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        splits: Splits,
        settings: FineTune,
        method: Method,
        device: str = "cpu",
        features: FeatureCache | None = None,
        blocks: Blocks | None = None,
        meter: Meter | None = None,
    ) -> None:
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model, self.selection, self.splits = model, selection, splits
        self.settings, self.method, self.device = settings, method, device
        self.history: list[Metrics] = []
        self.chosen = 0  # the best epoch so far, from 1
        self.meter = meter or Meter()
        self._features, self._blocks = features or FeatureCache(trace(model)), blocks
        self._plan = all_of(selection) if method.fixed else None
        self._learned: frozenset[str] = frozenset()
        self._best = (-math.inf, -math.inf)
        self._weights: dict[str, Tensor] = {}
        _check_labels(model, splits, device)
        if method.fixed or not (settings.epochs and selection.parameters):
            self._freeze(selection.parameters)
        self._named = {n: p for n, p in model.named_parameters() if n in set(selection.parameters)}
        self._start = {name: value.detach().clone() for name, value in self._named.items()}
        self._optimize()
        self._probe = Probe(
            model,
            selection.parameters,
            splits.tune,
            settings.batch_size,
            settings.seed,
            device,
            self._probed,
        )

    @property
    def suffix(self) -> nn.Module:
        """What is behind the cut."""
        return self.parts.suffix

    def epoch(self) -> Metrics:
        """One pass over the tuning images and a look at the validation images; Diverged if a metric is not finite."""
        number = len(self.history)
        self._follow(number)
        loss = self._pass(number)
        entry = {"train_loss": loss, **self.validate()}
        if not self.method.fixed:
            entry["rates"] = [self._rate(name) for name in self.selection.parameters]
        self.history.append(entry)
        _check_finite(self.history)
        rank = (entry["valid_accuracy"], -entry["valid_loss"])
        if rank > self._best:
            self._best, self.chosen, self._weights = rank, number + 1, self._changing()
        return entry

    def validate(self) -> Metrics:
        """Accuracy (%) and mean loss on the validation images."""
        self.meter.forward(self.parts.cut, self._learned, len(self.valid.labels))
        outputs = self._outputs(self.valid.batches())
        accuracy = percent_correct(outputs.argmax(1), self.valid.labels)
        loss = F.cross_entropy(outputs, self.valid.labels).item()
        return {"valid_accuracy": accuracy, "valid_loss": loss}

    def restore(self) -> None:
        """The weights of the best epoch."""
        self.model.load_state_dict(self._weights, strict=False)
        if not self.method.fixed:
            self._cut()  # folded layers hold weights that were frozen in the last epoch

    def test_outputs(self) -> Tensor:
        """Logits (n, classes) of the test images."""
        images, how = self.splits.test.images, self.settings
        return self._outputs(
            self._features.batches(
                self.parts, "test", images, self.device, EVALUATION_BATCH, how.precision
            )
        )

    def _follow(self, number: int) -> None:
        """Ask the method, and freeze, cut and set rates accordingly."""
        if self.method.fixed:
            return
        self._probe.epoch = number
        now = Situation(
            self.model,
            self.selection,
            number,
            self.settings.epochs,
            self._probe,
            self._blocks,
            self._plan,
        )
        plan = self.method.plan(now)
        if self._plan is None or set(plan.rates) != set(self._plan.rates):
            self._freeze(plan.rates)
        if plan.reset:
            self._optimizer.state.clear()
        self._plan = plan
        self._scale()

    def _freeze(self, names: Iterable[str]) -> None:
        chosen = set(names)
        tuned = tuple(name for name in self.selection.parameters if name in chosen)
        freeze(self.model, replace(self.selection, parameters=tuned), self.settings.norm)
        self._learned |= chosen
        self._cut()

    def _cut(self) -> None:
        data = self.splits
        example = to_float(data.tune.images[:2], self.device)
        fixed = (
            self.settings.norm != "train"
        )  # else statistics in front of the cut change with the batch
        graph = self._features.graph if fixed else None
        self.parts: Split = split(self.model, graph, self._learned, example)
        self.tune, self.valid = (
            Known(
                self._features.get(
                    self.parts, name, part.images, self.device, self.settings.precision
                ),
                part.labels.to(self.device),
            )
            for name, part in (("tune", data.tune), ("valid", data.valid))
        )
        self.meter.features(self.parts.cut, self._learned, len(data.tune) + len(data.valid))

    def _optimize(self) -> None:
        """One group of parameters where all learn at one rate, else one for each tensor."""
        how = self.settings
        groups: Any = list(self._named.values())
        if not self.method.fixed:
            groups = [{"params": [self._named[name]]} for name in self.selection.parameters]
        if not groups:
            return
        self._optimizer = make_optimizer(how.optimizer, groups, how.learning_rate, how.weight_decay)
        steps = how.epochs * -(-len(self.splits.tune) // how.batch_size)
        self._schedule = make_schedule(how.schedule, self._optimizer, steps)

    def _scale(self) -> None:
        """The scheduled learning rate times each tensor's share."""
        if self.method.fixed:
            return
        groups = self._optimizer.param_groups
        base = [self.settings.learning_rate] * len(groups)
        scheduled = self._schedule.get_last_lr() if self._schedule else base
        for group, rate, name in zip(groups, scheduled, self.selection.parameters, strict=True):
            group["lr"] = rate * self._rate(name)

    def _rate(self, name: str) -> float:
        return self._plan.rates.get(name, 0.0) if self._plan else 0.0

    def _pass(self, number: int) -> float:
        """All tuning images in an order drawn from (seed, epoch); returns the mean loss."""
        self.suffix.train()
        n, how = len(self.tune.labels), self.settings
        order = torch.randperm(n, generator=generator("order", how.seed, number))
        total = torch.zeros((), device=self.tune.labels.device)
        for index in order.to(self.tune.labels.device).split(how.batch_size):
            with autocast(how.precision, self.device):
                outputs = self.suffix(*self.tune[index])
            loss = F.cross_entropy(outputs.float(), self.tune.labels[index])
            total += loss.detach() * len(index)
            self._step(loss)
        self.meter.forward(self.parts.cut, self._learned, n)
        self.meter.backward(self._plan.rates if self._plan else (), n)
        return total.item() / n

    def _step(self, loss: Tensor) -> None:
        if not loss.requires_grad:  # everything is frozen in this epoch
            return
        learning = {name: p for name, p in self._named.items() if p.requires_grad}
        penalty = self.method.penalty(learning, self._start)
        self._optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        self._optimizer.step()
        if self._schedule:
            self._schedule.step()
            self._scale()

    @torch.no_grad()
    def _outputs(self, batches: Iterable[Features]) -> Tensor:
        """Logits (n, classes), in eval mode."""
        self.suffix.eval()
        with autocast(self.settings.precision, self.device):
            return torch.cat([self.suffix(*batch) for batch in batches]).float()

    def _changing(self) -> dict[str, Tensor]:
        """Copies of what tuning may change: the selection, and the buffers of normalisation layers."""
        fixed = {name for name, _ in self.model.named_parameters()} - set(self._named)
        return {k: v.clone() for k, v in self.model.state_dict().items() if k not in fixed}

    def _probed(self, images: int) -> None:
        self.meter.forward("", (), images)
        self.meter.backward(self.selection.parameters, images)


def _check_finite(history: list[Metrics]) -> None:
    numbers = {name: value for name, value in history[-1].items() if name != "rates"}
    bad = {name: value for name, value in numbers.items() if not math.isfinite(value)}
    if bad:
        raise Diverged(f"training diverged in epoch {len(history)}: {bad}", history)


@torch.no_grad()
def _check_labels(model: nn.Module, splits: Splits, device: str) -> None:
    classes = model.eval()(to_float(splits.tune.images[:1], device)).shape[1]
    for name in ("tune", "valid", "test"):
        labels = getattr(splits, name).labels
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"{name} labels must lie in 0..{classes - 1}, the network's outputs; "
                f"found {int(labels.min())}..{int(labels.max())}"
            )
