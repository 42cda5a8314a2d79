"""The loop of fine-tuning, an epoch at a time: what a method lets learn, and what may answer from memory meanwhile."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.cost import Meter
from surgicalft.evaluate import ImageForm, percent_correct, to_float
from surgicalft.freezing import NORM_POLICIES, freeze
from surgicalft.memory import Kept, Memory, mark
from surgicalft.methods.base import Method, Situation, all_of
from surgicalft.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from surgicalft.precision import PRECISIONS, autocast
from surgicalft.probe import Probe
from surgicalft.reuse import NOTHING_LEARNS, Answering, Layout, OtherPath, Plan, ValuesNeeded
from surgicalft.seeds import generator
from surgicalft.settings import check_fields, later
from surgicalft.shifts.base import Splits
from surgicalft.shifts.image_files import LazyImages, as_tensor
from surgicalft.trial import Conditions, find_plan

Metrics = dict[str, Any]
EXAMPLES = 5  # images that a trial is made with; no usual number of heads or groups
NOT_ASKED = "not asked for"


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
    evaluation_batch_size: int = later(250)  # validation and test images at once

    def __post_init__(self) -> None:
        check_fields(
            self,
            {"batch_size": 1, "evaluation_batch_size": 1},
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
class Part:
    """A split as the network is given it: labels (n,), images as bytes, and what frozen modules gave for them.

    `kept` is None where everything is computed; `images` are not read where nothing computed reads them.
    """

    images: Tensor | LazyImages
    labels: Tensor
    kept: Kept | None
    answering: Answering
    form: ImageForm
    device: str

    def outputs(self, index: Tensor | slice) -> Tensor:
        """The network's outputs for these images."""
        kept = self.kept[index] if self.kept else None
        if kept is None or self.answering.plan.reads_images:
            if isinstance(index, Tensor) and isinstance(self.images, Tensor):
                index = index.to(self.images.device)
            images = to_float(self.images[index], self.device, self.form)
        else:
            images = self._shape(len(self.labels[index]))
        result: Tensor = self.answering(images, kept)
        return result

    def computed(self) -> "Part":
        """The same split, with everything computed."""
        return replace(self, kept=None, answering=Answering(self.answering.network, Plan()))

    def batches(self, size: int) -> Iterable[Tensor]:
        """Outputs for all images, so many at once."""
        return (self.outputs(slice(i, i + size)) for i in range(0, len(self.labels), size))

    def _shape(self, n: int) -> Tensor:
        shape = tuple(self.images.shape[1:])
        order = (
            (0, 2, 3, 1) if self.form.channels_last and len(shape) == 3 else range(1 + len(shape))
        )
        return Layout(shape, self.form.dtype, tuple(order)).placeholder(
            n, torch.device(self.device)
        )


class Training:
    """A network while a method tunes it: `epoch()` goes on by one, `restore()` puts the best epoch's weights back.

    What does not depend on any tensor that has learned so far is computed once (`reuse` says how much that is); it is
    less when another one begins to learn. `memory` is shared with other runs, None computes everything.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        splits: Splits,
        settings: FineTune,
        method: Method,
        device: str = "cpu",
        memory: Memory | None = None,
        blocks: Blocks | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.model, self.selection, self.splits = model.to(device), selection, splits
        self.settings, self.method, self.device = settings, method, device
        self.history: list[Metrics] = []
        self.chosen = 0  # the best epoch so far, from 1
        self.meter = meter or Meter()
        self.form = ImageForm.of(model)
        self._memory, self._blocks = memory, blocks
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
    def reuse(self) -> str:
        """What answers from memory at present, or why nothing does."""
        return str(self._answering.plan)

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
        self.meter.forward(len(self.valid.labels), self._modules)
        outputs = self._outputs(self.valid)
        accuracy = percent_correct(outputs.argmax(1), self.valid.labels)
        loss = F.cross_entropy(outputs, self.valid.labels).item()
        return {"valid_accuracy": accuracy, "valid_loss": loss}

    def restore(self) -> None:
        """The weights of the best epoch."""
        self.model.load_state_dict(self._weights, strict=False)

    def test_outputs(self) -> Tensor:
        """Logits (n, classes) of the test images."""
        return self._outputs(self._part("test"))

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
        self._recall()

    def _recall(self) -> None:
        """Find out what may answer from memory, and have it there."""
        plan = self._find_plan()
        try:
            if plan and not self._held(plan, ("tune", "valid"), len(self.splits.test)):
                plan = Plan(
                    reason=f"{plan.nbytes:,} bytes an image fit neither into memory nor a file"
                )
        except OtherPath as error:
            plan = Plan(reason=str(error))
        self._answering = Answering(self.model, plan)
        self._modules = {name for name, _ in plan.outputs}
        self.tune, self.valid = self._part("tune"), self._part("valid")
        self.meter.remember(self._modules, len(self.splits.tune) + len(self.splits.valid))

    def _find_plan(self) -> Plan:
        if self._memory is None:
            return Plan(reason=NOT_ASKED)
        if not self._learned:
            return Plan(reason=NOTHING_LEARNS)
        how = self.settings
        learning = tuple(n for n, p in self.model.named_parameters() if p.requires_grad)
        frozen = mark(self.model, lambda name: name not in self._learned)
        key = (self._learned, learning, how.norm, how.precision, self.form, frozen)

        def make() -> Plan:
            passes = partial(autocast, how.precision, self.device)
            examples = _examples(self.splits.tune.images, self.device, self.form)
            return find_plan(self.model, self._learned, examples, Conditions(passes=passes))

        return self._memory.plan(key, make)

    def _held(self, plan: Plan, names: Sequence[str], later: int = 0) -> dict[str, Kept] | None:
        assert self._memory is not None
        images = {name: getattr(self.splits, name).images for name in names}
        how = self.form, self.device, self.settings.precision
        return self._memory.outputs(plan, self.model, images, *how, later=later)

    def _part(self, name: str) -> Part:
        data, plan = getattr(self.splits, name), self._answering.plan
        held = self._held(plan, (name,)) if plan else None
        images = data.images
        if name != "test" and (held is None or plan.reads_images):
            images = as_tensor(images).to(self.device)  # read in every epoch
        answering = self._answering if held or not plan else Answering(self.model, Plan())
        kept = held[name] if held else None
        return Part(images, data.labels.to(self.device), kept, answering, self.form, self.device)

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
        self.model.train()
        n, how = len(self.tune.labels), self.settings
        order = torch.randperm(n, generator=generator("order", how.seed, number))
        total = torch.zeros((), device=self.tune.labels.device)
        for index in order.to(self.tune.labels.device).split(how.batch_size):
            with autocast(how.precision, self.device):
                outputs = self.tune.outputs(index)
            loss = F.cross_entropy(_exact(outputs), self.tune.labels[index])
            total += loss.detach() * len(index)
            self._step(loss)
        self.meter.forward(n, self._modules)
        self.meter.backward(self._plan.rates if self._plan else (), n)
        return total.item() / n

    def _step(self, loss: Tensor) -> None:
        learning = {name: p for name, p in self._named.items() if p.requires_grad}
        if not learning:  # the method freezes everything in this epoch
            return
        if not loss.requires_grad:
            raise RuntimeError(
                f"the loss does not depend on the tensors of {self.selection.name!r}: the network's forward gives "
                "them no gradient (detach, torch.no_grad)"
            )
        penalty = self.method.penalty(learning, self._start)
        self._optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        self._optimizer.step()
        if self._schedule:
            self._schedule.step()
            self._scale()

    @torch.no_grad()
    def _outputs(self, part: Part) -> Tensor:
        """Logits (n, classes), in eval mode."""
        self.model.eval()
        with autocast(self.settings.precision, self.device):
            try:
                parts = list(part.batches(self.settings.evaluation_batch_size))
            except (
                OtherPath,
                ValuesNeeded,
            ) as error:  # for these images the network takes another way
                self._give_up(str(error))
                parts = list(part.computed().batches(self.settings.evaluation_batch_size))
        return _exact(torch.cat(parts))

    def _give_up(self, reason: str) -> None:
        """From now on everything is computed."""
        self._answering = Answering(self.model, Plan(reason=reason))
        self._modules = set()
        self.tune, self.valid = self._part("tune"), self._part("valid")

    def _changing(self) -> dict[str, Tensor]:
        """Copies of what tuning may change: the selection, and the buffers of normalisation layers."""
        fixed = {name for name, _ in self.model.named_parameters()} - set(self._named)
        return {k: v.clone() for k, v in self.model.state_dict().items() if k not in fixed}

    def _probed(self, images: int) -> None:
        self.meter.forward(images)
        self.meter.backward(self.selection.parameters, images)


def _check_finite(history: list[Metrics]) -> None:
    numbers = {name: value for name, value in history[-1].items() if name != "rates"}
    bad = {name: value for name, value in numbers.items() if not math.isfinite(value)}
    if bad:
        raise Diverged(f"training diverged in epoch {len(history)}: {bad}", history)


def _exact(outputs: Tensor) -> Tensor:
    """At least single precision."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


def _examples(images: Tensor | LazyImages, device: str, form: ImageForm) -> Tensor:
    """What a trial is made with: some of the images, and some of chance, in case these are all alike."""
    some = as_tensor(images[: EXAMPLES // 2])
    shape = (EXAMPLES - len(some), *some.shape[1:])
    drawn = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator("trial"))
    return to_float(torch.cat([some, drawn.to(some.device)]), device, form)


@torch.no_grad()
def _check_labels(model: nn.Module, splits: Splits, device: str) -> None:
    example = to_float(splits.tune.images[:1], device, ImageForm.of(model))
    classes = model.eval()(example).shape[1]
    for name in ("tune", "valid", "test"):
        labels = getattr(splits, name).labels
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"{name} labels must lie in 0..{classes - 1}, the network's outputs; "
                f"found {int(labels.min())}..{int(labels.max())}"
            )
