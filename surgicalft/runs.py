"""One fine-tuning run as settings, and what executes it."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from surgicalft.blocks import Blocks
from surgicalft.cost import Costs, Meter, costs_of
from surgicalft.features import FeatureCache
from surgicalft.finetune import FineTune, Tuned, fine_tune
from surgicalft.freezing import NORM_POLICIES
from surgicalft.methods import METHODS, make_method
from surgicalft.models.networks import build, ungrouped
from surgicalft.models.recipe import Pretrain
from surgicalft.models.weights import weight_names
from surgicalft.models.zoo import PUBLISHED, load_network
from surgicalft.optimizers import OPTIMIZERS, SCHEDULES
from surgicalft.recent import Recent
from surgicalft.searches import SEARCHES, Arena, search
from surgicalft.settings import check_choice, later
from surgicalft.shifts import TEST_RULES, Splits, get_scenario, load_source, split_target
from surgicalft.shifts.decoded import keep
from surgicalft.shifts.parameter_noise import Planted, plant
from surgicalft.split import trace


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

    def __post_init__(self) -> None:
        check_choice("method", self.method, [*METHODS, *SEARCHES])
        if self.method in SEARCHES:
            self._check_search()
        else:
            make_method(self.method, self.variant, self.strength)
        check_choice("test", self.test, TEST_RULES)
        check_choice("norm", self.norm, NORM_POLICIES)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        if self.pretrain and ungrouped(self.pretrain.model) != ungrouped(self.model):
            raise ValueError(
                f"model is {self.model!r}, but pretrain trains {self.pretrain.model!r}"
            )

    def _check_search(self) -> None:
        if self.selection != "all" or not self.rates or self.learning_rate:
            raise ValueError(
                f"{self.method} chooses selection and rate itself: it takes selection 'all', learning_rate 0 and "
                f"rates, not {self.selection!r}, {self.learning_rate:g} and {self.rates}"
            )


@dataclass(frozen=True)
class Start:
    """What the runs from one source model share: the network, which they copy, and its graph."""

    network: nn.Module
    graph: fx.Graph | None
    metrics: dict[str, float]  # of the noise planted in it, where there is some


@dataclass(frozen=True)
class Bench:
    """What the runs on one target split share: the splits, the features of frozen prefixes, what layers cost."""

    splits: Splits
    provenance: str
    features: FeatureCache
    costs: Costs


class Executor:
    """Executes runs in this process; source models and target splits are loaded once and shared.

    `prepare` must have seen the runs before several threads call it: see `surgicalft.sweep.engine.run_all`.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        device: str = "cpu",
        progress: bool = True,
        unreadable: str = "raise",
    ) -> None:
        self.data_dir, self.device, self.progress = data_dir, device, progress
        self.unreadable = unreadable  # images: "raise" or "skip", see surgicalft.shifts.decoded
        self._starts: dict[tuple[str, Pretrain | None, Planted | None], Start] = {}
        self._benches: Recent[Bench] = Recent(2)

    def prepare(self, runs: Sequence[Run]) -> None:
        """Check all runs, then load or train their source models, with all cores and a progress bar.

        Raises ValueError for a scenario, model or selection that does not exist, before anything is computed.
        """
        for run in runs:
            check(run)
        for run in runs:
            self._start(run)

    def _start(self, run: Run) -> Start:
        key = (run.model, run.pretrain, run.planted)
        if key not in self._starts:
            self._starts[key] = self._planted(run) if run.planted else self._loaded(run)
        return self._starts[key]

    def _loaded(self, run: Run) -> Start:
        how = (self.data_dir, self.device, self.progress, self.unreadable)
        network = load_network(run.model, run.pretrain, *how)
        return Start(network, trace(network), {})

    def _planted(self, run: Run) -> Start:
        """The level is set on the source's validation images."""
        assert run.planted is not None
        network = copy.deepcopy(self._start(replace(run, planted=None)).network)
        valid = load_source(get_scenario(run.scenario).source, self.data_dir).valid
        damage = plant(network, run.planted, valid, self.device)
        known = {"planted_scale": damage.scale, "planted_accuracy": damage.accuracy}
        return Start(network, trace(network), known)

    def __call__(self, run: Run) -> dict[str, Any]:
        """The fields of the run's record that are known here."""
        self.prepare([run])
        start = self._start(run)
        network = copy.deepcopy(start.network)
        bench = self._bench(run, start)
        tuned = (_search if run.method in SEARCHES else _tune)(run, network, bench, self.device)
        known = asdict(replace(tuned, metrics=tuned.metrics | start.metrics))
        return {**known, "provenance": bench.provenance, "device": self.device}

    def _bench(self, run: Run, start: Start) -> Bench:
        start_key = (run.model, run.pretrain, run.planted)
        key = (*start_key, run.scenario, run.n_tune, run.n_valid, run.seed, run.test)

        def make() -> Bench:
            target = get_scenario(run.scenario).load(self.data_dir)
            counts = (run.n_tune, run.n_valid, run.seed, run.test)
            splits = split_target(target.pool, *counts, target.classes, target.test, target.sparse)
            # Of a copy: counting hooks into the layers, and another thread may be copying the network.
            costs = costs_of(copy.deepcopy(start.network), splits.tune.images[:1])
            features = FeatureCache(start.graph)
            return Bench(self._kept(splits), target.provenance, features, costs)

        return self._benches.get(key, make)

    def _kept(self, splits: Splits) -> Splits:
        """What is read in every epoch, and by every run, decoded once."""
        parts = (splits.tune, splits.valid, splits.test)
        return Splits(*(keep(part, self.unreadable, progress=self.progress) for part in parts))


def _how(run: Run) -> FineTune:
    """The settings of the loop among those of the run."""
    names = [f.name for f in fields(FineTune)]
    return FineTune(**{name: getattr(run, name) for name in names})


def _tune(run: Run, network: nn.Module, bench: Bench, device: str) -> Tuned:
    blocks = Blocks.of(network)
    return fine_tune(
        network,
        blocks.select(run.selection),
        bench.splits,
        _how(run),
        device,
        bench.features,
        method=make_method(run.method, run.variant, run.strength),
        blocks=blocks,
        costs=bench.costs,
    )


def _search(run: Run, network: nn.Module, bench: Bench, device: str) -> Tuned:
    arena = Arena(
        network,
        Blocks.of(network),
        bench.splits,
        _how(run),
        run.rates,
        run.last_rates,
        bench.features,
        Meter(bench.costs),
        device,
    )
    return search(SEARCHES[run.method], arena)


def check(run: Run) -> None:
    """ValueError, with the legal values, where a run names what does not exist or does not fit together."""
    scenario = get_scenario(run.scenario)
    if run.pretrain is None:
        check_choice("model", run.model, sorted(PUBLISHED))
    else:
        _check_pretrain(run, run.pretrain, scenario.source)
    blocks = _blocks(run.model, published=run.pretrain is None)
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
def _blocks(model: str, published: bool) -> Blocks:
    """Of a network of that name, if it can be without memory: large ones take seconds to initialise."""

    def blocks() -> Blocks:
        return Blocks.of(PUBLISHED[model].untrained() if published else build(model, 10, seed=0))

    try:
        with torch.device("meta"):
            return blocks()
    except (RuntimeError, NotImplementedError):  # timm 1.0.9's transformers read values meanwhile
        return blocks()
