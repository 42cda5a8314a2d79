"""What repairs damage planted in one block: Figure 5 and Table 5, from records.

Rows are told apart by `damaged`, the block that holds the noise ("none": the network as it was). Options are the
selections of surgical runs, and Auto-RGN's variants: `auto-rgn`, `auto-rgn code`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from surgicalft.report.claims import ERRORS
from surgicalft.report.paper import published
from surgicalft.report.tables import paired_difference, selection_key, summary
from surgicalft.sweep.record import Record

AUTO = "auto-rgn"
UNDAMAGED = "none"
CODE = f"{AUTO} code"
WHOLE = ("all", "none", AUTO, CODE)  # options that are not a single block
_BY = ("model", "damaged")
_TABLE_5 = {"all": "All", AUTO: "Auto-RGN", CODE: "Auto-RGN"}
_SHOWN = ("mean", "standard_error", "n", "seeds", "learning_rates", "rule", "binomial_error")
_COMPANY = ("n_test", "n_failed", "n_scenarios", "n_tune", "device", "provenance")


def flat(records: Iterable[Record]) -> list[Record]:
    """The records of surgical runs and of Auto-RGN, with `damaged`, and Auto-RGN as a selection of its own.

    The noise's seed is left out of the settings: seeds of the run, which it equals, are what means are taken over.
    Raises ValueError where noise and run have different seeds, which would mix two kinds of means.
    """
    return [_flat(r) for r in records if r.settings["method"] in ("surgical", AUTO)]


def _flat(record: Record) -> Record:
    settings = dict(record.settings)
    planted = settings.pop("planted", None) or {}
    if planted and planted["seed"] != settings["seed"]:
        raise ValueError(
            f"noise of seed {planted['seed']} in a run of seed {settings['seed']}: they should be equal"
        )
    if settings["method"] == AUTO:
        name = f"{AUTO} {settings.pop('variant', '')}".strip()
        settings |= {"method": "surgical", "selection": name}
    if settings["selection"] == "none":  # of which the number of epochs says nothing
        settings.pop("epochs", None)
    where = {"damaged": planted.get("block", UNDAMAGED)}
    where |= {"level": planted.get("accuracy"), "where": planted.get("where", "")}
    return replace(record, settings=settings | where)


def repair_table(records: Iterable[Record], rule: str = "target_valid") -> pd.DataFrame:
    """One row per model, damaged block and option: the mean over seeds of the test accuracy (%), and its error.

    `paper`: Table 5's accuracy of All and Auto-RGN on CIFAR-10 with a ResNet-26, whatever the number of images and the
    level, which the paper does not state. Figure 5's bars are in none of its tables.
    """
    rows = summary(flat(records), (*_BY, "scenario", "n_tune", "selection"), rule)
    columns = (rows[name] for name in ("scenario", "damaged", "selection"))
    papers = [_paper(*row) for row in zip(*columns, strict=True)]
    rows = rows[[*_BY, "scenario", "selection", *_SHOWN, *_COMPANY]]
    rows = pd.concat([rows, pd.DataFrame(papers, index=rows.index)], axis=1)
    return in_order(rows)


def _paper(scenario: str, damaged: str, option: str) -> dict[str, Any]:
    cell = None
    if scenario.startswith("cifar10") and damaged != UNDAMAGED and option in _TABLE_5:
        cell = published(5, "Last layer" if damaged == "last" else damaged, _TABLE_5[option])
    if cell is None:
        return {"paper": math.nan, "paper_error": math.nan, "paper_source": ""}
    return {"paper": cell.value, "paper_error": cell.stderr, "paper_source": cell.source}


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Models as they come, damaged blocks and options as the network has them, the undamaged first."""
    models = list(dict.fromkeys(rows["model"]))
    keys: dict[str, Any] = {
        "model": models.index,
        "damaged": lambda name: (name != UNDAMAGED, selection_key(name)),
        "selection": _option_key,
        "option": _option_key,
    }
    used = [name for name in keys if name in rows]
    order = sorted(rows.index, key=lambda i: [keys[name](rows.at[i, name]) for name in used])
    return rows.loc[order].reset_index(drop=True)


def _option_key(name: str) -> Any:
    return name.startswith(AUTO), selection_key(name)


def damage_table(records: Iterable[Record]) -> pd.DataFrame:
    """What was planted, a row per model, damaged block and seed: the noise's scale, and accuracies (%) before tuning.

    `left` is on the source's validation images, where the level was set; `accuracy` on the target's test images, with
    its binomial error.
    """
    rows = [
        {
            **{name: record.settings[name] for name in (*_BY, "seed")},
            "scale": record.metrics.get("planted_scale", 0.0),
            "left": record.metrics.get("planted_accuracy", math.nan),
            **_share(record.test_accuracy, record.n_test),
        }
        for record in flat(records)
        if record.settings["selection"] == "none" and record.status == "finished"
    ]
    return in_order(pd.DataFrame(rows))


def _share(accuracy: float | None, n: int | None) -> dict[str, float]:
    if accuracy is None or not n:
        return {"accuracy": math.nan, "error": math.nan}
    return {"accuracy": accuracy, "error": math.sqrt(accuracy * (100 - accuracy) / n)}


def comparisons(records: Iterable[Record], rule: str = "target_valid") -> pd.DataFrame:
    """For each model and damaged block, accuracy of option `a` minus that of `b` (points), paired by seed.

    `question` "the damaged block against all", "... against the best other block" (best on the test images, which
    favours it), "auto-rgn against all", "... against the damaged block", and the same of its variant. `error`: the
    larger of the standard error over seeds and of the binomial error, which takes the two as independent. `z` is
    difference / error; `winner`: of more than 2 errors, else "level". `paper`: Table 5's difference, and its errors'
    root sum of squares.

    Raises ValueError where an option has no records.
    """
    own = flat(records)
    table = repair_table(records, rule)
    cases: dict[tuple[str, ...], list[Record]] = {}
    for record in own:
        cases.setdefault(tuple(record.settings[name] for name in _BY), []).append(record)
    rows = []
    for (model, damaged), group in cases.items():
        if damaged == UNDAMAGED:
            continue
        here = table[(table["model"] == model) & (table["damaged"] == damaged)]
        for question, a, b in _questions(here, damaged):
            case = {"question": question, "model": model, "damaged": damaged}
            rows.append(case | _difference(group, a, b, rule))
    frame = pd.DataFrame(rows).sort_values("question", kind="stable", ignore_index=True)
    return pd.concat([in_order(part) for _, part in frame.groupby("question", sort=False)])


def _questions(rows: pd.DataFrame, damaged: str) -> list[tuple[str, str, str]]:
    found = [
        ("the damaged block against all", damaged, "all"),
        ("the damaged block against the best other block", damaged, _rival(rows, damaged)),
    ]
    for name in rows["selection"]:
        if name in (AUTO, CODE):
            found.append((f"{name} against all", name, "all"))
            found.append((f"{name} against the damaged block", name, damaged))
    return found


def _rival(rows: pd.DataFrame, damaged: str) -> str:
    others = rows[~rows["selection"].isin([*WHOLE, damaged])]
    return str(others.loc[others["mean"].idxmax(), "selection"])


def _difference(group: Sequence[Record], a: str, b: str, rule: str) -> dict[str, Any]:
    row = paired_difference(group, a, b, _BY, rule).iloc[0]
    error = float(np.fmax(row["standard_error"], row["binomial_error"]))
    difference = float(row["mean"])
    level = abs(difference) <= ERRORS * error
    scenario, damaged = (group[0].settings[name] for name in ("scenario", "damaged"))
    ours, other = (_paper(scenario, damaged, name) for name in (a, b))
    return {
        **{"a": a, "b": b, "difference": difference, "error": error, "n": int(row["n"])},
        "z": difference / error if error else math.copysign(math.inf, difference),
        "winner": "level" if level else a if difference > 0 else b,
        "paper": ours["paper"] - other["paper"],
        "paper_error": math.hypot(ours["paper_error"], other["paper_error"]),
        "paper_source": ours["paper_source"] and other["paper_source"],
    }
