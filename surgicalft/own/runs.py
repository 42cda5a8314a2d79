"""Runs on a user's own network and data, as settings, and what executes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from surgicalft.cost import costs_of
from surgicalft.finetune import tune
from surgicalft.given_network import copy_network
from surgicalft.memory import Memory
from surgicalft.own.data import OwnData
from surgicalft.own.network import OwnNetwork
from surgicalft.recent import Recent
from surgicalft.runs import Run
from surgicalft.seeds import derive_seed
from surgicalft.settings import later
from surgicalft.shifts.base import Splits


@dataclass(frozen=True)
class OwnRun(Run):
    """Tune `selection` of the network `model` on the data `scenario`: names to read, told apart by fingerprints."""

    network_fingerprint: str = later("")
    data_fingerprint: str = later("")


class OwnExecutor:
    """Executes runs on one network and one set of data, in this process; threads may share it."""

    def __init__(self, network: OwnNetwork, data: OwnData, device: str = "cpu") -> None:
        self.network, self.data, self.device = network, data, device
        # Of a copy: counting hooks into the layers.
        self._costs = costs_of(copy_network(network.module), data.train.images[:1])
        self._benches: Recent[tuple[Splits, Memory]] = Recent(2)

    def __call__(self, run: OwnRun) -> dict[str, Any]:
        """The fields of the run's record that are known here."""
        return self.tune(run)[1]

    def tune(self, run: OwnRun) -> tuple[nn.Module, dict[str, Any]]:
        """The tuned copy of the user's network, and the fields of the record."""
        module = copy_network(self.network.module)
        splits, memory = self._bench(run.seed)
        selection = self.network.select(run.selection)
        with self._chance(run.seed):
            tuned = tune(
                module, selection, splits, run.how(), self.device, memory, costs=self._costs
            )
        if run.epochs and not _changed(self.network.module, module, selection.parameters):
            raise RuntimeError(
                f"no tensor of {run.selection!r} changed in {run.epochs} epochs at learning rate "
                f"{run.learning_rate:g}: no gradient reaches them, or the rate is too small"
            )
        where = {"provenance": self.data.describe(), "device": self.device}
        network: nn.Module = module.network  # type: ignore[assignment]
        return network, {**asdict(tuned), **where}

    def _bench(self, seed: int) -> tuple[Splits, Memory]:
        """Splits and what frozen modules gave for them; the same for all seeds where the splits are."""

        def make() -> tuple[Splits, Memory]:
            return self.data.splits(seed), Memory()

        return self._benches.get(seed if self.data.drawn else 0, make)

    @contextmanager
    def _chance(self, seed: int) -> Iterator[None]:
        """What dropout and the like draw, from the process's generators, is the same for each run of that seed."""
        if not self.network.random:
            yield
            return
        cuda = torch.device(self.device).type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if cuda else []):
            torch.manual_seed(derive_seed("chance", seed))
            yield


def _changed(before: nn.Module, after: nn.Module, names: Sequence[str]) -> bool:
    """Whether any of these parameters did."""
    pairs = ((before.get_parameter(name), after.get_parameter(name)) for name in names)
    return any(not torch.equal(old, new) for old, new in pairs)
