"""Supervised fine-tuning of a selection of parameters, with early stopping on target validation images.

Equation 1 of the paper: minimise over the selected parameters, all others fixed at their pre-trained values,
the mean cross-entropy over the target's tuning images. Nothing that cannot change is computed twice: see
`surgicalft.reuse`. The test images are read once, at the chosen epoch.
"""

import warnings
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from surgicalft.allocator import keep_freed_memory
from surgicalft.blocks import Blocks, Selection
from surgicalft.cost import Costs, Meter
from surgicalft.evaluate import ImageForm, percent_correct, to_float
from surgicalft.given_network import check_type, fast_format, unwrap
from surgicalft.memory import Memory
from surgicalft.methods.base import Method
from surgicalft.methods.surgical import Surgical
from surgicalft.models.torchvision_blocks import family_of
from surgicalft.reuse import refresh
from surgicalft.settings import check_device
from surgicalft.shifts.base import Labelled, Splits
from surgicalft.shifts.groups import group_accuracies, worst_group
from surgicalft.training import Diverged, FineTune, Metrics, Training

__all__ = ["Diverged", "FineTune", "Tuned", "fine_tune"]


@dataclass(frozen=True)
class Tuned:
    """What a run found: metrics per epoch, the chosen epoch (0 = untuned), accuracies in percent.

    An epoch of a method other than surgical lists `rates`, each tensor's share of the learning rate, in the
    selection's order.
    """

    history: list[Metrics]
    epoch: int
    valid_accuracy: float
    valid_loss: float
    test_accuracy: float
    n_test: int
    metrics: dict[str, float] = field(
        default_factory=dict
    )  # worst_group of the test, forward_passes
    reuse: str = field(
        default="", compare=False
    )  # what answered from memory at the end, or why nothing did


def fine_tune(
    model: nn.Module,
    selection: Selection,
    splits: Splits,
    settings: FineTune,
    device: str = "cpu",
    memory: Memory | None = None,
    reuse: bool = True,
    method: Method | None = None,
    blocks: Blocks | None = None,
    costs: Costs | None = None,
) -> Tuned:
    """Tune `selection` of `model` in place and leave it with the weights of the chosen epoch.

    The chosen epoch has the highest validation accuracy; ties go to the lower validation loss, then to the
    earlier epoch. Frozen modules whose output for an image cannot change answer from memory: `Tuned.reuse` says which,
    or why none does. `memory` shares what they gave between runs that start from the same weights on the same splits;
    `reuse=False` computes everything, with the same numbers to rounding. `method` says what learns when within the
    selection (surgical: all of it, always); one that unfreezes block by block takes `blocks`, or those that the model
    declares. With `costs`, the metrics say how many `forward_passes` the run took.

    The network is given images in [0, 1]. One that was trained on normalised images (those of timm and torchvision)
    should be wrapped in `surgicalft.models.normalized.Normalized`, or its accuracy suffers: a warning says so.
    `which_block` does that by itself. Networks in torch.compile or DataParallel are tuned inside. It may be called from
    several threads at once, for networks of their own.

    Afterwards what is not in `selection` stays frozen and keeps its modes: `surgicalft.unfreeze(model)` undoes that.

    Raises Diverged where a loss is not finite, ValueError for empty splits, labels that the network has no output
    for, weights of 16 bits and DistributedDataParallel, RuntimeError where the loss gives the selection no gradient.
    """
    check_device(device)
    network, prefix = unwrap(model)
    _warn_of_scale(network)
    return tune(
        network,
        _inside(selection, prefix),
        splits,
        settings,
        device,
        (memory or Memory()) if reuse else None,
        method,
        Blocks.of(network) if prefix and blocks else blocks,
        costs,
    )


def tune(
    model: nn.Module,
    selection: Selection,
    splits: Splits,
    settings: FineTune,
    device: str = "cpu",
    memory: Memory | None = None,
    method: Method | None = None,
    blocks: Blocks | None = None,
    costs: Costs | None = None,
) -> Tuned:
    """`fine_tune` of a plain network that takes images in [0, 1]; without `memory` everything is computed."""
    keep_freed_memory()
    check_type(model)
    for name in ("tune", "valid", "test"):
        if not len(getattr(splits, name)):
            raise ValueError(f"there are no {name} images, of which one or more are needed")
    model.to(device)
    with fast_format(model, to_float(splits.tune.images[:2], device, ImageForm.of(model))):
        meter, how = Meter(costs), method or Surgical()
        training = Training(model, selection, splits, settings, how, device, memory, blocks, meter)
        if selection.parameters:
            for _ in range(settings.epochs):
                training.epoch()
        found = finish(training)
        refresh(model, to_float(splits.tune.images[:1], device, training.form))
        return found


def finish(training: Training) -> Tuned:
    """Put the best epoch's weights back, and read the test images."""
    if training.chosen:
        training.restore()
        chosen = training.history[training.chosen - 1]
    else:
        chosen = training.validate()
    passes = training.meter.passes
    test = training.splits.test
    predictions = training.test_outputs().argmax(1).cpu()
    costs = {"forward_passes": passes} if training.meter.costs else {}
    return Tuned(
        training.history,
        training.chosen,
        chosen["valid_accuracy"],
        chosen["valid_loss"],
        percent_correct(predictions, test.labels),
        len(test),
        _group_metrics(predictions, test) | costs,
        training.reuse,
    )


def _inside(selection: Selection, prefix: str) -> Selection:
    """The same tensors by their names in the network that a wrapper holds."""
    if not prefix:
        return selection
    inner = (
        tuple(name.removeprefix(prefix) for name in names)
        for names in (selection.parameters, selection.front)
    )
    parameters, front = inner
    return replace(selection, parameters=parameters, front=front)


def _warn_of_scale(network: nn.Module) -> None:
    config = getattr(network, "pretrained_cfg", None) or {}
    if family_of(network) or ("mean" in config and "std" in config):
        warnings.warn(
            f"{type(network).__name__} is given images in [0, 1]; if it was trained on normalised images, wrap it in "
            "surgicalft.Normalized(network, mean, std)",
            stacklevel=3,
        )


def _group_metrics(predictions: Tensor, test: Labelled) -> dict[str, float]:
    if test.groups is None:
        return {}
    groups = group_accuracies(predictions, test.labels, test.groups)
    return {"worst_group": worst_group(groups)[1]}
