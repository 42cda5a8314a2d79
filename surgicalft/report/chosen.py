"""Results at the learning rate that a rule chose: per seed, as family means, as differences."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from surgicalft.sweep.record import Record
from surgicalft.sweep.rules import candidates, choose

TUNED = ("learning_rate", "strength")  # what a rule chooses
_COMPARED = ("selection", "method", "seed")  # what a family's mean is compared over


@dataclass(frozen=True)
class Chosen:
    """One seed's test accuracy at the chosen learning rate, or a mean or difference of such."""

    settings: dict[str, Any]  # without the learning rate
    accuracy: float  # percent; NaN where no learning rate finished
    variance: float  # of the accuracy over test splits of that size: p (100 - p) / n
    n_test: int
    learning_rates: tuple[float, ...]  # one per scenario
    n_failed: int
    device: frozenset[str]
    provenance: frozenset[str]
    n_scenarios: int = 1
    metrics: dict[str, float] = field(default_factory=dict)  # of single results only


def chosen(records: Iterable[Record], rule: str) -> list[Chosen]:
    """The result that `rule` chooses among the learning rates, for all other settings there are."""
    groups = candidates(records, TUNED)
    return [
        _choose(group, rule) for group in sorted(groups, key=lambda g: key_without(g[0].settings))
    ]


def _choose(group: list[Record], rule: str) -> Chosen:
    settings = {name: v for name, v in group[0].settings.items() if name not in TUNED}
    finished = [record for record in group if record.status == "finished"]
    failed = len(group) - len(finished)
    if not finished:
        return Chosen(settings, math.nan, math.nan, 0, (), failed, frozenset(), frozenset())
    best = choose(finished, rule, TUNED)
    p, n = best.test_accuracy, best.n_test
    if p is None or not n:
        raise ValueError(f"the finished record {best.id} lacks test_accuracy ({p}) or n_test ({n})")
    if not 0 <= p <= 100:
        raise ValueError(f"test_accuracy of {best.id} must be in percent, 0 to 100, not {p}")
    rates = (best.settings["learning_rate"],)
    where = frozenset({best.device}), frozenset({best.provenance})
    return Chosen(settings, p, p * (100 - p) / n, n, rates, failed, *where, metrics=best.metrics)


def pooled(cells: Sequence[Chosen]) -> list[Chosen]:
    """The mean over the scenarios of a family of two or more, named `family/*`, within each seed.

    NaN where one of the scenarios that others have is missing, so that means over unequal sets of
    scenarios are never compared.
    """
    wanted, groups = defaultdict(set), defaultdict(list)
    for cell in cells:
        scenario = cell.settings["scenario"]
        if (family := _family(scenario)) is not None:
            wanted[family, key_without(cell.settings, "scenario", *_COMPARED)].add(scenario)
            groups[family, key_without(cell.settings, "scenario")].append(cell)
    means = []
    for (family, _), group in groups.items():
        size = len(wanted[family, key_without(group[0].settings, "scenario", *_COMPARED)])
        if size > 1:
            means.append(_combine(group, [1 / size] * len(group), family, len(group) == size))
    return means


def _family(scenario: str) -> str | None:
    """`cifar10-c/fog/3` -> `cifar10-c/*/3`; None where the scenario is its family's only one."""
    family, *options = scenario.split("/")
    return "/".join([family, "*", *options[1:]]) if options else None


def differences(cells: Sequence[Chosen], a: str, b: str) -> list[Chosen]:
    """Selection `a` minus `b` wherever both have the same other settings, seed included."""
    pairs: dict[str, dict[str, Chosen]] = defaultdict(dict)
    for cell in cells:
        if cell.settings["selection"] in (a, b):
            pairs[key_without(cell.settings, "selection")][cell.settings["selection"]] = cell
    return [
        _combine([pair[a], pair[b]], [1, -1], pair[a].settings["scenario"])
        for pair in pairs.values()
        if len(pair) == 2
    ]


def _combine(
    cells: Sequence[Chosen], weights: Sequence[float], scenario: str, complete: bool = True
) -> Chosen:
    """The weighted sum of accuracies, their errors taken as independent."""
    weighted = list(zip(weights, cells, strict=True))
    return Chosen(
        settings={**cells[0].settings, "scenario": scenario},
        accuracy=sum(w * c.accuracy for w, c in weighted) if complete else math.nan,
        variance=sum(w * w * c.variance for w, c in weighted),
        n_test=min(c.n_test for c in cells),
        learning_rates=sum((c.learning_rates for c in cells), ()),
        n_failed=sum(c.n_failed for c in cells),
        device=frozenset().union(*(c.device for c in cells)),
        provenance=frozenset().union(*(c.provenance for c in cells)),
        n_scenarios=max(len({c.settings["scenario"] for c in cells}), cells[0].n_scenarios),
    )


def grouped(cells: Iterable[Chosen], by: Sequence[str]) -> dict[tuple[Any, ...], list[Chosen]]:
    """Groups of equal settings `by`, each of one result per seed.

    Raises ValueError for an unknown name in `by`, and where a group differs in more than the seed.
    """
    groups: dict[tuple[Any, ...], list[Chosen]] = defaultdict(list)
    for cell in cells:
        unknown = [name for name in by if name not in cell.settings]
        if unknown:
            raise ValueError(f"unknown settings {unknown} to group by; legal: {[*cell.settings]}")
        groups[tuple(_plain(cell.settings[name]) for name in by)].append(cell)
    for key, group in groups.items():
        _check_alike(dict(zip(by, key, strict=True)), group)
    return groups


def _check_alike(key: dict[str, Any], group: list[Chosen]) -> None:
    names = [name for name in group[0].settings if name != "seed"]
    mixed = [n for n in names if len({repr(_plain(c.settings.get(n))) for c in group}) > 1]
    if mixed:
        raise ValueError(
            f"records of {key} also differ in {mixed}: group by these, or leave some out"
        )


def key_without(settings: dict[str, Any], *names: str) -> str:
    """The settings but for `names` and what a rule chooses, as text."""
    rest = {name: v for name, v in settings.items() if name not in (*names, *TUNED)}
    return json.dumps(rest, sort_keys=True)


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
