"""One fine-tuning run as settings, and what executes it."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.freezing import POLICIES
from surgicalft.models.networks import build
from surgicalft.models.pretrain import Pretrain
from surgicalft.models.zoo import PUBLISHED, load_network
from surgicalft.recent import Recent
from surgicalft.settings import check_choice
from surgicalft.shifts import TEST_RULES, Splits, get_scenario, split_target
from surgicalft.split import FeatureCache

METHODS = ("surgical",)


@dataclass(frozen=True)
class Run:
    """Tune `selection` of a source model on a scenario's target at one learning rate.

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

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("test", self.test, TEST_RULES)
        check_choice("norm", self.norm, POLICIES)
        if self.pretrain is not None and self.pretrain.model != self.model:
            raise ValueError(f"model is {self.model!r}, but pretrain trains {self.pretrain.model!r}")


@dataclass(frozen=True)
class Bench:
    """What the runs on one target split share: the splits, and the features of frozen prefixes."""

    splits: Splits
    provenance: str
    features: FeatureCache


class Executor:
    """Executes runs in this process; source models and target splits are loaded once and shared.

    Call `prepare(runs)` first, so that source models train with all cores and under a progress bar.
    Safe to call from several threads.
    """

    def __init__(
        self, data_dir: Path | None = None, device: str = "cpu", progress: bool = True
    ) -> None:
        self.data_dir, self.device, self.progress = data_dir, device, progress
        self._networks: Recent[nn.Module] = Recent(4)
        self._benches: Recent[Bench] = Recent(2)

    def check(self, run: Run) -> None:
        """ValueError for a scenario, model or selection that does not exist, before anything is computed."""
        scenario = get_scenario(run.scenario)
        if run.pretrain is None:
            check_choice("model", run.model, sorted(PUBLISHED))
            return
        if run.pretrain.source != scenario.source:
            raise ValueError(
                f"scenario {run.scenario!r} departs from source {scenario.source!r}, but the model is "
                f"trained on {run.pretrain.source!r}"
            )
        Blocks.of(build(run.model, 10, seed=0)).select(run.selection)

    def prepare(self, runs: Sequence[Run]) -> None:
        """Train or load every source model that the runs start from."""
        for run in runs:
            self.check(run)
        for run in {(run.model, run.pretrain): run for run in runs}.values():
            self._network(run)

    def __call__(self, run: Run) -> dict[str, Any]:
        """The fields of the run's record that are known here."""
        network = copy.deepcopy(self._network(run))
        bench = self._bench(run)
        settings = FineTune(
            run.learning_rate, run.epochs, run.batch_size, run.weight_decay, run.norm, run.seed
        )
        selection = Blocks.of(network).select(run.selection)
        tuned = fine_tune(network, selection, bench.splits, settings, self.device, bench.features)
        return {**asdict(tuned), "provenance": bench.provenance, "device": self.device}

    def _network(self, run: Run) -> nn.Module:
        return self._networks.get(
            (run.model, run.pretrain),
            lambda: load_network(run.model, run.pretrain, self.data_dir, self.device, self.progress),
        )

    def _bench(self, run: Run) -> Bench:
        key = (run.model, run.pretrain, run.scenario, run.n_tune, run.n_valid, run.seed, run.test)
        return self._benches.get(key, lambda: self._make_bench(run))

    def _make_bench(self, run: Run) -> Bench:
        target = get_scenario(run.scenario).load(self.data_dir)
        splits = split_target(
            target.pool, run.n_tune, run.n_valid, run.seed, run.test, target.classes
        )
        return Bench(splits, target.provenance, FeatureCache())

