"""`python -m surgicalft.report.precision`: what bfloat16 does to accuracies on real images, to figures/precision/.

The runs of surgical fine-tuning in Table 4, each in float32 and in bfloat16 with the same source weights, split and
batches. Both are chaotic: a run's rounding may tip images either way, so what counts is the mean over runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from surgicalft.method_studies import get_method_study
from surgicalft.report.experiment import Experiment
from surgicalft.report.markdown import markdown
from surgicalft.runs import Run
from surgicalft.sweep.record import Record
from surgicalft.sweep.rules import choose


@dataclass(frozen=True)
class Pair:
    """The same run in both precisions."""

    single: Record
    half: Record

    @property
    def selection(self) -> str:
        """What was tuned."""
        return str(self.single.settings["selection"])


def precision_runs(profile: str) -> list[Run]:
    """The surgical runs of that profile's study of methods, in float32."""
    study = get_method_study(profile)
    scenarios = map(study.profile.study, study.scenarios)
    return [run for one in scenarios for run in one.runs(study.seeds) if run.epochs]


def precision_table(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Mean test accuracies (%) and the mean paired difference with its standard error, by selection.

    `of`: every run, or those whose learning rate validation chose, in either precision by itself. Failed runs have no
    accuracy, and are left out with their partners.
    """
    rows = []
    for of, among in (("every run", list(pairs)), ("chosen", chosen(pairs))):
        names = list(dict.fromkeys(pair.selection for pair in among))
        groups = {name: [pair for pair in among if pair.selection == name] for name in names}
        for name, group in (groups | {"every selection": among}).items():
            rows.append({"of": of, "selection": name, **_compared(group)})
    return pd.DataFrame(rows)


def chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """One pair for each scenario, selection and seed: the record of the best rate in either precision."""
    groups: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        known = pair.single.settings
        groups.setdefault((known["scenario"], pair.selection, known["seed"]), []).append(pair)
    return [
        Pair(choose([p.single for p in group]), choose([p.half for p in group]))
        for group in groups.values()
    ]


def _compared(pairs: Sequence[Pair]) -> dict[str, float]:
    both = [(pair.single.test_accuracy, pair.half.test_accuracy) for pair in pairs]
    frame = pd.DataFrame([pair for pair in both if None not in pair], columns=["single", "half"])
    difference = frame["half"] - frame["single"]
    n = len(frame)
    return {
        "n": n,
        "float32": frame["single"].mean(),
        "bfloat16": frame["half"].mean(),
        "difference": difference.mean(),
        "error": difference.std() / math.sqrt(n) if n > 1 else math.nan,
    }


def main() -> None:
    """Run what the store lacks, print the table and write it with its settings."""
    experiment = Experiment.begin("precision", "cifar")
    runs = precision_runs("cifar")
    single = experiment.run(runs)
    half = experiment.run([replace(run, precision="bfloat16") for run in runs])
    pairs = [Pair(*both) for both in zip(single, half, strict=True)]
    about = experiment.company([*single, *half])
    experiment.table(precision_table(pairs), about)
    print(markdown(precision_table(pairs), about))


if __name__ == "__main__":
    main()
