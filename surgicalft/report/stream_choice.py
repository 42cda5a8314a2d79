"""Choosing learning rate, steps, weight decay and optimiser of test-time adaptation, on images kept apart for that."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from surgicalft.report.stream_results import (
    CHOSEN,
    STREAM,
    Estimate,
    Hits,
    differing,
    estimate,
    images,
    minus,
)
from surgicalft.report.stream_rows import UNCHANGED, Row
from surgicalft.sweep.record import Record

_KEY = ("method", "mode", "selection", "model")
_LEAST = {"steps": 1, "weight_decay": 0.0}  # beyond which nothing can be tried
_Setting = tuple[Any, ...]  # values of CHOSEN


def choose_settings(records: Iterable[Record]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """For each method, mode, selection and model the setting of highest mean accuracy over scenarios and seeds.

    Only a setting that finished on every scenario and seed there is can be chosen; of equals, the smaller learning
    rate, then fewer steps, then less weight decay. Runs without adaptation choose nothing.

    Returns what was chosen, mappings with method, mode, selection, model, learning_rate, steps, weight_decay and
    optimizer; and the whole grid, a row per setting, the best first: `accuracy` (%) with `error`, sd / sqrt(n) of
    the images' means over scenarios; `behind`, its difference to the chosen one paired by image, with
    `behind_error`; `edge`, which of the chosen one's values is the largest or smallest that was tried while more
    or less could have been.

    Raises ValueError where there is no record, where records of one choice differ in more (such as in which images
    they see), and where no setting finished everywhere.
    """
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in {record.id: record for record in records}.values():
        if record.settings["selection"] != "none":
            groups[tuple(record.settings[name] for name in _KEY)].append(record)
    if not groups:
        raise ValueError("no records of adaptation, so nothing to choose from")
    tables = [_grid(dict(zip(_KEY, key, strict=True)), groups[key]) for key in _sorted(groups)]
    grid = pd.concat(tables, ignore_index=True)
    best = grid[grid["chosen"]]
    return [_plain(row) for row in best[[*_KEY, *CHOSEN]].to_dict("records")], grid


def _sorted(groups: Mapping[tuple[str, ...], Any]) -> list[tuple[str, ...]]:
    def place(key: tuple[str, ...]) -> tuple[Any, ...]:
        method, mode, selection, model = key
        return model, *Row(mode, method, selection).key()

    return sorted(groups, key=place)


def _grid(key: dict[str, str], records: Sequence[Record]) -> pd.DataFrame:
    """All settings of one choice."""
    row = Row(key["mode"], key["method"], key["selection"])
    if mixed := differing(records, ("scenario", "seed", *CHOSEN)):
        which = "see different images" if set(mixed) & set(STREAM) else "are not comparable"
        raise ValueError(f"runs of {row.name(key['model'])} {which}: they differ in {mixed}")
    cases = {_case(record) for record in records}
    tried: dict[_Setting, list[Record]] = defaultdict(list)
    for record in records:
        tried[tuple(record.settings[name] for name in CHOSEN)].append(record)
    hits = {setting: _hits(own, cases) for setting, own in tried.items()}
    results = {setting: estimate(own) for setting, own in hits.items()}
    eligible = [setting for setting in tried if hits[setting]]
    if not eligible:
        raise ValueError(
            f"no setting of {row.name(key['model'])} finished on all of {sorted(cases)} (scenario, seed)"
        )
    ordered = sorted(tried, key=lambda s: (s not in eligible, *_rank(s, results[s])))
    best = ordered[0]
    rows = []
    for setting in ordered:
        behind = estimate(minus(hits[setting], hits[best])) if setting != best else Estimate(0.0)
        own = tried[setting]
        rows.append(
            {
                **key,
                "label": row.name(key["model"]),
                **dict(zip(CHOSEN, setting, strict=True)),
                **{"accuracy": results[setting].mean, "error": results[setting].larger},
                **{"behind": behind.mean, "behind_error": behind.larger},
                **{"n_test": max((r.n_test or 0) for r in own), "n_scenarios": _count(own)},
                "n_failed": sum(record.status == "failed" for record in own),
                **{"eligible": setting in eligible, "chosen": setting == best},
                "edge": _edge(best, list(tried)) if setting == best else "",
            }
        )
    return pd.DataFrame(rows)


def _case(record: Record) -> tuple[str, int]:
    return record.settings["scenario"], record.settings["seed"]


def _hits(own: Sequence[Record], cases: set[tuple[str, int]]) -> Hits:
    """Each image's mean over the scenarios, by seed; empty where a scenario or seed is missing or failed."""
    found = {_case(record): images(record) for record in own if record.status == "finished"}
    if found.keys() != cases:
        return {}
    seeds = sorted({seed for _, seed in cases})
    by_seed = {s: [values for (_, seed), values in found.items() if seed == s] for s in seeds}
    lengths = sorted({len(values) for values in found.values()})
    if len(lengths) > 1:
        raise ValueError(f"streams to choose by must be of one length, not {lengths}")
    return {seed: np.mean(values, axis=0) for seed, values in by_seed.items()}


def _rank(setting: _Setting, found: Estimate) -> tuple[Any, ...]:
    """Sorts the best first; sums in another order give the same accuracy."""
    rate, steps, decay, optimizer = setting
    return -round(found.mean, 9), rate, steps, decay, optimizer


def _edge(best: _Setting, tried: Sequence[_Setting]) -> str:
    """Which values of the chosen setting have neighbours on one side only: `learning rate (largest)`."""
    found = []
    for i, name in enumerate(CHOSEN[:-1]):
        values = {setting[i] for setting in tried}
        if len(values) > 1 and best[i] == max(values):
            found.append(f"{name.replace('_', ' ')} (largest)")
        elif len(values) > 1 and best[i] == min(values) != _LEAST.get(name):
            found.append(f"{name.replace('_', ' ')} (smallest)")
    return ", ".join(found)


def _count(own: Sequence[Record]) -> int:
    return len({record.settings["scenario"] for record in own})


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """With Python's own numbers, as settings have them."""
    return {str(name): value for name, value in row.items()}


assert UNCHANGED.selection == "none"
assert json
