"""Supervised fine-tuning of a selection of parameters, with early stopping on target validation images.

Equation 1 of the paper: minimise over the selected parameters, all others fixed at their pre-trained values,
the mean cross-entropy over the target's tuning images. Nothing that cannot change is computed twice: see
`surgicalft.split`. The test images are read once, at the chosen epoch.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from surgicalft.allocator import keep_freed_memory
from surgicalft.blocks import Blocks, Selection
from surgicalft.cost import Costs, Meter
from surgicalft.evaluate import percent_correct
from surgicalft.features import FeatureCache
from surgicalft.methods.base import Method
from surgicalft.methods.surgical import Surgical
from surgicalft.shifts.base import Labelled, Splits
from surgicalft.shifts.groups import group_accuracies, worst_group
from surgicalft.split import trace
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


def fine_tune(
    model: nn.Module,
    selection: Selection,
    splits: Splits,
    settings: FineTune,
    device: str = "cpu",
    features: FeatureCache | None = None,
    reuse: bool = True,
    method: Method | None = None,
    blocks: Blocks | None = None,
    costs: Costs | None = None,
) -> Tuned:
    """Tune `selection` of `model` in place and leave it with the weights of the chosen epoch.

    The chosen epoch has the highest validation accuracy; ties go to the lower validation loss, then to the
    earlier epoch. `features` shares the outputs of frozen prefixes between runs that start from the same
    weights on the same splits; `reuse=False` takes the plain path, which gives the same numbers to rounding.
    `method` says what learns when within the selection (surgical: all of it, always); one that unfreezes block
    by block takes `blocks`, or those that the model declares. With `costs`, the metrics say how many
    `forward_passes` the run took.

    Raises Diverged where a loss is not finite, ValueError for labels that the network has no output for.
    """
    keep_freed_memory()
    features = features if features and reuse else FeatureCache(trace(model) if reuse else None)
    training = Training(
        model,
        selection,
        splits,
        settings,
        method or Surgical(),
        device,
        features,
        blocks,
        Meter(costs),
    )
    if selection.parameters:
        for _ in range(settings.epochs):
            training.epoch()
    return finish(training)


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
    )


def _group_metrics(predictions: Tensor, test: Labelled) -> dict[str, float]:
    if test.groups is None:
        return {}
    groups = group_accuracies(predictions, test.labels, test.groups)
    return {"worst_group": worst_group(groups)[1]}
