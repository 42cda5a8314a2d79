"""Named rules that choose among records which differ in the learning rate only.

A rule maps a record to a tuple, the larger the better, or to None where its metric is missing.
`target_valid` is the rule of the results; `oracle` reads test data, hence a name of its own. Either
way the epoch was chosen during the run, by target validation accuracy.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence

from surgicalft.settings import check_choice
from surgicalft.sweep.record import Record

Rule = Callable[[Record], tuple[float, ...] | None]


def target_valid(record: Record) -> tuple[float, ...] | None:
    """Highest target validation accuracy; ties: lowest validation loss, lowest learning rate."""
    accuracy, loss = record.valid_accuracy, record.valid_loss
    if accuracy is None or math.isnan(accuracy):
        return None
    if loss is None or math.isnan(loss):
        loss = math.inf
    return accuracy, -loss, -record.settings["learning_rate"]


def oracle(record: Record) -> tuple[float, ...] | None:
    """Highest test accuracy; ties: lowest learning rate. An upper bound, not a result."""
    accuracy = record.test_accuracy
    if accuracy is None or math.isnan(accuracy):
        return None
    return accuracy, -record.settings["learning_rate"]


RULES: dict[str, Rule] = {"target_valid": target_valid, "oracle": oracle}


def choose(
    records: Sequence[Record],
    rule: str = "target_valid",
    varying: Sequence[str] = ("learning_rate",),
) -> Record:
    """The best record by the named rule; the failed and those without its metric are left out.

    Raises ValueError for an unknown rule, for records that differ in more than the settings
    `varying`, and where none is left, with the errors of those that failed.
    """
    check_choice("rule", rule, RULES)
    if len(candidates(records, varying)) > 1:
        raise ValueError(
            f"records to choose from may differ in {list(varying)} only, "
            f"but these also differ in {_differing(records, varying)}"
        )
    scored = [(score, r) for r in records if r.status == "finished" and (score := RULES[rule](r))]
    if not scored:
        errors = sorted({r.error or f"no metric for {rule}" for r in records})
        raise ValueError(f"nothing to choose from among {len(records)} records: {errors}")
    return max(scored, key=lambda pair: pair[0])[1]


def candidates(
    records: Iterable[Record], varying: Sequence[str] = ("learning_rate",)
) -> list[list[Record]]:
    """The records in groups that differ in the settings `varying` only, in order of appearance."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        fixed = {name: v for name, v in record.settings.items() if name not in varying}
        groups.setdefault(json.dumps(fixed, sort_keys=True), []).append(record)
    return list(groups.values())


def _differing(records: Sequence[Record], varying: Sequence[str]) -> list[str]:
    names = dict.fromkeys(name for record in records for name in record.settings)
    return [
        name
        for name in names
        if name not in varying
        and len({json.dumps(r.settings.get(name), sort_keys=True) for r in records}) > 1
    ]
