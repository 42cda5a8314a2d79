"""A row of Table 4 is an option: the runs among which validation chooses. Their accuracy, and what they cost together.

No Adaptation is no run at all, Cross-Val many: the surgical runs on all single blocks. `OPTIONS` says which runs
belong to which row; edit it there.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from surgicalft.sweep.record import Record
from surgicalft.sweep.rules import choose

BLOCK = "a single block"
UNTUNED, FULL = "No Adaptation", "All"  # the latter is what costs are relative to
KINDS = ("bound", "paper", "comparison", "candidate")
VARYING = ("learning_rate", "strength", "selection")  # what validation chooses
_NOT_BLOCKS = ("all", "none", "norms", "biases")
_FREE = {"scenario", "seed", "method", "variant", *VARYING, "rates", "last_rates"}


@dataclass(frozen=True)
class Option:
    """The runs of one method, variant and selection (`BLOCK`: of every single block), at all rates and strengths.

    `kind`: what bounds the methods (bound), the paper's (paper), what else a user would compare with (comparison), or
    a candidate for a better criterion (candidate). `ranked`: of one run, so that it takes part in average ranks.
    """

    label: str
    method: str = "surgical"
    selection: str = "all"
    variant: str = ""
    kind: str = "paper"
    ranked: bool = True

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether a run of these settings belongs to the row."""
        same = (settings["method"], settings.get("variant", "")) == (self.method, self.variant)
        selection = settings["selection"]
        return same and (
            _block(selection) if self.selection == BLOCK else selection == self.selection
        )


def _block(selection: str) -> bool:
    """Not a union, a range or a kind of tensors."""
    return selection not in _NOT_BLOCKS and not set(selection) & {"+", ":", ","}


OPTIONS = (
    Option(UNTUNED, selection="none", kind="bound", ranked=False),
    Option("Cross-Val", selection=BLOCK, kind="bound", ranked=False),
    Option(FULL),
    Option("Gradual First-Last", "gradual-first-last"),
    Option("Gradual Last-First", "gradual-last-first"),
    Option("L1 Regularize", "l1-sp"),
    Option("Auto-SNR", "auto-snr"),
    Option("Auto-RGN", "auto-rgn"),
    Option("Auto-SNR (code)", "auto-snr", variant="code", kind="comparison"),
    Option("Auto-RGN (code)", "auto-rgn", variant="code", kind="comparison"),
    Option("L2 Regularize", "l1-sp", variant="l2", kind="comparison"),
    Option("Last layer", selection="last", kind="comparison"),
    Option("LP-FT", "lp-ft", kind="comparison"),
    Option("Norm-only", selection="norms", kind="comparison"),
    Option("Bias-only", selection="biases", kind="comparison"),
    Option("LoRA", "lora", kind="comparison"),
    Option("Halving", "halving", kind="candidate"),
    Option("Fisher", "auto-fisher", kind="candidate"),
    Option("RGN after head", "auto-rgn", variant="after-head", kind="candidate"),
    Option("Greedy", "greedy", kind="candidate", ranked=False),
)


def results(
    records: Iterable[Record], options: Sequence[Option] = OPTIONS, rule: str = "target_valid"
) -> pd.DataFrame:
    """One row per option, scenario and seed: the run that `rule` chooses among all of the option's, and their cost.

    `accuracy` is the chosen run's on the test images (%), NaN where all failed. `forward_passes` and `seconds` are
    sums over the option's runs (a failed run counts as the mean of the others' passes: how far it got is not known).
    In units of full fine-tuning on the same scenario and seed: `cost` is the sum relative to that of full
    fine-tuning at all its learning rates, `full_runs` relative to one of its runs, `run_cost` the mean of one run
    relative to one of its runs, `time` as `cost` in seconds. NaN where full fine-tuning, or a cost, was not recorded.

    Raises ValueError where no option has records, where the records of a scenario differ in what no option varies,
    and where an option's candidates are not the same for all seeds of a scenario: the choice would not be fair.
    """
    known = {record.id: record for record in records}
    _check_alike(known.values())
    rows = []
    for option in options:
        own = [record for record in known.values() if option.holds(record.settings)]
        cases = _cases(own)
        _check_grids(option.label, cases)
        rows += [_row(option, *case, group, rule) for case, group in cases.items()]
    if not rows:
        raise ValueError(f"none of {len(known)} records belongs to {[o.label for o in options]}")
    return _relative(pd.DataFrame(rows))


def _cases(records: Iterable[Record]) -> dict[tuple[str, int], list[Record]]:
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in sorted(records, key=lambda r: r.id):
        case = (record.settings["scenario"], record.settings["seed"])
        groups.setdefault(case, []).append(record)
    return dict(sorted(groups.items()))


def _row(
    option: Option, scenario: str, seed: int, group: list[Record], rule: str
) -> dict[str, Any]:
    finished = [record for record in group if record.status == "finished"]
    best = choose(finished, rule, VARYING) if finished else None
    passes = _mean([record.metrics.get("forward_passes", math.nan) for record in finished])
    settings = group[0].settings
    return {
        **{"option": option.label, "kind": option.kind, "ranked": option.ranked},
        **{"scenario": scenario, "seed": seed, "rule": rule},
        **{name: settings[name] for name in ("model", "n_tune")},
        **_outcome(best),
        **{"runs": len(group), "n_failed": len(group) - len(finished)},
        **{"forward_passes": passes * len(group), "one_run": passes},
        "seconds": sum(record.wall_time for record in group),
        "device": ", ".join(sorted({record.device for record in finished})),
        "provenance": "; ".join(sorted({record.provenance for record in finished})),
    }


def _outcome(best: Record | None) -> dict[str, Any]:
    if best is None:
        return {"accuracy": math.nan, "variance": math.nan, "n_test": 0, "chosen": ""}
    p, n = best.test_accuracy, best.n_test
    if p is None or not n:
        raise ValueError(f"the finished record {best.id} lacks test_accuracy ({p}) or n_test ({n})")
    found = {"accuracy": p, "variance": p * (100 - p) / n, "n_test": n, "chosen": _named(best)}
    return {**found, "learning_rate": _found(best)["learning_rate"]}


def _found(record: Record) -> Mapping[str, Any]:
    """Settings of the run; of a search, those of the candidate that won."""
    metrics = (record.valid_accuracy, record.valid_loss)
    tried = (row for row in record.history if "selection" in row)
    won = (row for row in tried if (row.get("valid_accuracy"), row.get("valid_loss")) == metrics)
    return next(won, record.settings)


def _named(best: Record) -> str:
    """What was chosen: the selection, and the strength where there is one."""
    strength = best.settings.get("strength")
    name: str = _found(best)["selection"]
    return name if strength is None else f"{name}, strength {strength:g}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _relative(frame: pd.DataFrame) -> pd.DataFrame:
    """Costs in units of full fine-tuning's."""
    full = frame[frame["option"] == FULL].set_index(["scenario", "seed"])
    index = pd.MultiIndex.from_frame(frame[["scenario", "seed"]])
    unit = full[["forward_passes", "one_run", "seconds"]].reindex(index).reset_index(drop=True)
    return frame.assign(
        cost=frame["forward_passes"] / unit["forward_passes"],
        full_runs=frame["forward_passes"] / unit["one_run"],
        run_cost=frame["one_run"] / unit["one_run"],
        time=frame["seconds"] / unit["seconds"].where(unit["seconds"] > 0),
    )


def _check_alike(records: Iterable[Record]) -> None:
    """All settings that no option varies must agree within a scenario; without tuning, epochs don't matter."""
    by_scenario: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_scenario.setdefault(record.settings["scenario"], []).append(record.settings)
    for scenario, found in by_scenario.items():
        for name in sorted({name for settings in found for name in settings} - _FREE):
            compared = [s for s in found if name != "epochs" or s["selection"] != "none"]
            values = {json.dumps(settings.get(name), sort_keys=True) for settings in compared}
            if len(values) > 1:
                raise ValueError(
                    f"records of {scenario} differ in {name}: {sorted(values)}; keep one"
                )


def _check_grids(label: str, cases: dict[tuple[str, int], list[Record]]) -> None:
    grids: dict[str, tuple[int, set[str]]] = {}
    for (scenario, seed), group in cases.items():
        grid = {json.dumps([r.settings.get(name) for name in VARYING]) for r in group}
        first, expected = grids.setdefault(scenario, (seed, grid))
        if grid != expected:
            raise ValueError(
                f"{label} on {scenario}: the runs of seed {seed} are not those of seed {first}; only one has "
                f"{sorted(grid ^ expected)} (learning rate, strength, selection)"
            )
