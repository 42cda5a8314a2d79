"""One fine-tuning run as settings, and whether these make sense; `surgicalft.executor` executes it."""

from dataclasses import dataclass, fields
from functools import cache

import torch

from surgicalft.blocks import Blocks
from surgicalft.lora import import_peft
from surgicalft.methods import METHODS, make_method
from surgicalft.models.networks import build, ungrouped
from surgicalft.models.recipe import Pretrain
from surgicalft.models.weights import weight_names
from surgicalft.models.zoo import PUBLISHED
from surgicalft.searches import SEARCHES
from surgicalft.settings import check_choice, check_fields, check_number, later
from surgicalft.shifts import TEST_RULES, get_scenario
from surgicalft.shifts.parameter_noise import Planted
from surgicalft.training import FineTune

LORA = "lora"  # a method whose adapters are another package's


@dataclass(frozen=True)
class Run:
    """Tune `selection` of a source model on a scenario's target, by one method, at one learning rate.

    `model` is a published checkpoint's name where `pretrain` is None, else the network that it trains.
    The learning rate is chosen afterwards, over runs: see surgicalft.sweep.rules.
    """

    scenario: str
    model: str
    selection: str  # "block 1", "block 1:block 2", "first_layer", "all", "none", ...
    learning_rate: float
    method: str = "surgical"
    n_tune: int = 1000  # target images to tune on
    n_valid: int = 100  # target images to choose epoch and learning rate by
    test: str = "rest"  # or "authors": 90 per class
    epochs: int = 15
    batch_size: int = 64
    weight_decay: float = 1e-4
    norm: str = "eval"
    seed: int = 0  # of the target split and, apart from it, of the order of the batches
    pretrain: Pretrain | None = None
    optimizer: str = later("adam")
    schedule: str = later("constant")
    variant: str = later("")  # of the method
    strength: float | None = later(None)  # the method's one number, its default where None
    rates: tuple[float, ...] = later(())  # of a method that searches: those it tries
    last_rates: tuple[float, ...] = later(())  # and for the last block alone, if others
    planted: Planted | None = later(None)  # noise in one block of the source model
    precision: str = later("float32")  # of tuning's passes, see surgicalft.precision
    evaluation_batch_size: int = later(250)  # validation and test images at once

    def how(self) -> FineTune:
        """The settings of the loop among those of the run."""
        return FineTune(**{f.name: getattr(self, f.name) for f in fields(FineTune)})

    def __post_init__(self) -> None:
        methods = [*METHODS, *SEARCHES, LORA]
        check_fields(
            self, {"batch_size": 1, "evaluation_batch_size": 1}, method=methods, test=TEST_RULES
        )
        self.how()  # checks what is the loop's
        if self.method in SEARCHES:
            self._check_search()
        elif self.method == LORA:
            self._check_lora()
        else:
            make_method(self.method, self.variant, self.strength)
        if self.pretrain and ungrouped(self.pretrain.model) != ungrouped(self.model):
            raise ValueError(
                f"model is {self.model!r}, but pretrain trains {self.pretrain.model!r}"
            )

    def _check_lora(self) -> None:
        check_choice("variant of lora", self.variant, [""])
        if self.strength is not None and (self.strength < 1 or self.strength % 1):
            raise ValueError(
                f"strength of lora is its rank, a whole number from 1 on, not {self.strength:g}"
            )

    def _check_search(self) -> None:
        for name in ("rates", "last_rates"):
            for rate in getattr(self, name):
                check_number(name, rate, ends=False)
        if self.selection != "all" or not self.rates or self.learning_rate:
            raise ValueError(
                f"{self.method} chooses selection and rate itself: it takes selection 'all', learning_rate 0 and "
                f"rates, not {self.selection!r}, {self.learning_rate:g} and {self.rates}"
            )


def check(run: Run) -> None:
    """ValueError, with the legal values, where a run names what does not exist or does not fit together.

    ModuleNotFoundError for LoRA without its extra.
    """
    if run.method == LORA:
        import_peft()
    scenario = get_scenario(run.scenario)
    if run.pretrain is None:
        check_choice("model", run.model, sorted(PUBLISHED))
    else:
        _check_pretrain(run, run.pretrain, scenario.source)
    blocks = source_blocks(run.model, published=run.pretrain is None)
    blocks.select(run.selection)
    if run.planted:
        check_choice("planted block", run.planted.block, blocks.names)


def _check_pretrain(run: Run, pretrain: Pretrain, source: str) -> None:
    if pretrain.source != source:
        raise ValueError(
            f"scenario {run.scenario!r} departs from source {source!r}, but the model is "
            f"trained on {pretrain.source!r}"
        )
    check_choice("weights", pretrain.weights, weight_names(pretrain.model))


@cache
def source_blocks(model: str, published: bool) -> Blocks:
    """Of a network of that name, if it can be without memory: large ones take seconds to initialise."""

    def blocks() -> Blocks:
        return Blocks.of(PUBLISHED[model].untrained() if published else build(model, 10, seed=0))

    try:
        with torch.device("meta"):
            return blocks()
    except (RuntimeError, NotImplementedError):  # timm 1.0.9's transformers read values meanwhile
        return blocks()
