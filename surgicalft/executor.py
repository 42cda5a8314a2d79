"""What executes runs: source models and target splits, loaded once, and each run's way of tuning."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.cost import Costs, Meter, costs_of
from surgicalft.finetune import Tuned, tune
from surgicalft.given_network import copy_network
from surgicalft.lora import RANK, fine_tune_lora
from surgicalft.memory import Memory
from surgicalft.methods import make_method
from surgicalft.models.recipe import Pretrain
from surgicalft.models.zoo import load_network
from surgicalft.recent import Recent
from surgicalft.runs import LORA, Run, check
from surgicalft.searches import SEARCHES, Arena, search
from surgicalft.settings import check_device
from surgicalft.shifts import Splits, get_scenario, load_source, split_target
from surgicalft.shifts.decoded import keep
from surgicalft.shifts.parameter_noise import Planted, plant


@dataclass(frozen=True)
class Start:
    """What the runs from one source model share: the network, which they copy."""

    network: nn.Module
    metrics: dict[str, float]  # of the noise planted in it, where there is some


@dataclass(frozen=True)
class Bench:
    """What the runs on one target split share: the splits, what frozen modules gave for them, what layers cost."""

    splits: Splits
    provenance: str
    memory: Memory
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
        check_device(device, here=False)  # workers elsewhere may have one
        self.data_dir, self.device, self.progress = data_dir, device, progress
        self.unreadable = unreadable  # images: "raise" or "skip", see surgicalft.shifts.decoded
        self._starts: dict[tuple[str, Pretrain | None, Planted | None], Start] = {}
        self._benches: Recent[Bench] = Recent(2)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process travel the settings; what was loaded stays here."""
        return type(self), (self.data_dir, self.device, False, self.unreadable)

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
        return Start(load_network(run.model, run.pretrain, *how), {})

    def _planted(self, run: Run) -> Start:
        """The level is set on the source's validation images."""
        assert run.planted is not None
        network = copy_network(self._start(replace(run, planted=None)).network)
        valid = load_source(get_scenario(run.scenario).source, self.data_dir).valid
        damage = plant(network, run.planted, valid, self.device)
        known = {"planted_scale": damage.scale, "planted_accuracy": damage.accuracy}
        return Start(network, known)

    def __call__(self, run: Run) -> dict[str, Any]:
        """The fields of the run's record that are known here."""
        self.prepare([run])
        start = self._start(run)
        network = copy_network(start.network)
        bench = self._bench(run, start)
        tuned = _way(run.method)(run, network, bench, self.device)
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
            costs = costs_of(copy_network(start.network), splits.tune.images[:1])
            return Bench(self._kept(splits), target.provenance, Memory(), costs)

        return self._benches.get(key, make)

    def _kept(self, splits: Splits) -> Splits:
        """What is read in every epoch, and by every run, decoded once."""
        parts = (splits.tune, splits.valid, splits.test)
        return Splits(*(keep(part, self.unreadable, progress=self.progress) for part in parts))


def _way(method: str) -> Callable[[Run, nn.Module, Bench, str], Tuned]:
    """What tunes a network by that method."""
    if method in SEARCHES:
        return _search
    return _lora if method == LORA else _tune


def _tune(run: Run, network: nn.Module, bench: Bench, device: str) -> Tuned:
    blocks = Blocks.of(network)
    return tune(
        network,
        blocks.select(run.selection),
        bench.splits,
        run.how(),
        device,
        bench.memory,
        method=make_method(run.method, run.variant, run.strength),
        blocks=blocks,
        costs=bench.costs,
    )


def _lora(run: Run, network: nn.Module, bench: Bench, device: str) -> Tuned:
    return fine_tune_lora(
        network,
        Blocks.of(network).select(run.selection),
        bench.splits,
        run.how(),
        int(run.strength or RANK),
        device,
        bench.costs,
        bench.memory,
    )


def _search(run: Run, network: nn.Module, bench: Bench, device: str) -> Tuned:
    arena = Arena(
        network,
        Blocks.of(network),
        bench.splits,
        run.how(),
        run.rates,
        run.last_rates,
        bench.memory,
        Meter(bench.costs),
        device,
    )
    return search(SEARCHES[run.method], arena)
