"""Choosing learning rate, steps, weight decay and optimiser of test-time adaptation, on images kept apart for that."""

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
from surgicalft.report.stream_rows import Row
from surgicalft.sweep.record import Record

_KEY = ("method", "mode", "selection", "model")
_LEAST = {"steps": 1, "weight_decay": 0.0}  # less can't be tried
_Setting = tuple[Any, ...]  # values of CHOSEN
_Case = tuple[str, int]  # scenario and seed


def choose_settings(records: Iterable[Record]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """For each method, mode, selection and model the setting of highest mean accuracy over scenarios and seeds.

    Only a setting that finished on every scenario and seed that the model has in that mode can be chosen; of equals,
    the smaller learning rate, then fewer steps, then less weight decay. Runs without adaptation choose nothing.

    Returns what was chosen, mappings with method, mode, selection, model, learning_rate, steps, weight_decay and
    optimizer; and the whole grid, a row per setting, the best first: `accuracy` (%) with `error`, sd / sqrt(n) of
    the images' means over scenarios; `behind`, its difference to the chosen one paired by image, with
    `behind_error`; `edge`, which values of the chosen one are the largest or smallest that were tried, while more
    or less could have been.

    Raises ValueError where there is no record, where records of one choice differ in more (such as in which images
    they see), and where no setting finished everywhere.
    """
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    cases: dict[tuple[str, str], set[_Case]] = defaultdict(set)  # by mode and model
    for record in {record.id: record for record in records}.values():
        if record.settings["selection"] != "none":
            groups[tuple(record.settings[name] for name in _KEY)].append(record)
            cases[record.settings["mode"], record.settings["model"]].add(_case(record))
    if not groups:
        raise ValueError("no records of adaptation, so nothing to choose from")
    found = [(dict(zip(_KEY, key, strict=True)), groups[key]) for key in sorted(groups, key=_place)]
    grid = pd.concat([_grid(key, own, cases[key["mode"], key["model"]]) for key, own in found])
    best = grid[grid["chosen"]][[*_KEY, *CHOSEN]].to_dict("records")
    chosen = [{str(name): value for name, value in row.items()} for row in best]
    return chosen, grid.reset_index(drop=True)


def choose_for_each(
    records: Iterable[Record], scenarios: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """What `choose_settings` chooses on each of the scenarios alone; those without records of adaptation have none."""
    tried = [record for record in records if record.settings["selection"] != "none"]
    own = {name: [r for r in tried if r.settings["scenario"] == name] for name in scenarios}
    return {name: choose_settings(found)[0] for name, found in own.items() if found}


def _place(key: tuple[str, ...]) -> tuple[Any, ...]:
    method, mode, selection, model = key
    return model, *Row(mode, method, selection).key()


def _case(record: Record) -> _Case:
    return record.settings["scenario"], record.settings["seed"]


def _grid(key: Mapping[str, str], records: Sequence[Record], cases: set[_Case]) -> pd.DataFrame:
    """All settings of one choice, the best first, those that can't be chosen last."""
    name = Row(key["mode"], key["method"], key["selection"]).name(key["model"])
    if mixed := differing(records, ("scenario", "seed", *CHOSEN)):
        which = "see different images" if mixed.keys() & set(STREAM) else "can't be compared"
        raise ValueError(f"runs of {name} {which}: they differ in {mixed}")
    tried: dict[_Setting, list[Record]] = defaultdict(list)
    for record in records:
        tried[tuple(record.settings[setting] for setting in CHOSEN)].append(record)
    hits = {setting: _hits(own, cases) for setting, own in tried.items()}
    if not any(hits.values()):
        raise ValueError(
            f"no setting of {name} finished on all of {sorted(cases)} (scenario, seed)"
        )
    ordered = sorted(tried, key=lambda s: (not hits[s], -_rounded(hits[s]), *s))
    best = ordered[0]
    rows = [
        {**key, "name": name, **_row(setting, tried[setting], hits[setting], hits[best])}
        for setting in ordered
    ]
    edges = [_edge(best, list(tried))] + [""] * (len(rows) - 1)
    chosen = [True] + [False] * (len(rows) - 1)
    return pd.DataFrame(rows).assign(chosen=chosen, edge=edges)


def _row(setting: _Setting, own: Sequence[Record], hits: Hits, best: Hits) -> dict[str, Any]:
    accuracy = estimate(hits)
    behind = Estimate(0.0, 0.0) if hits is best else estimate(minus(hits, best))
    return {
        **dict(zip(CHOSEN, setting, strict=True)),
        **{"accuracy": accuracy.mean, "error": accuracy.larger},
        **{"behind": behind.mean, "behind_error": behind.larger},
        "n_test": max(record.n_test or 0 for record in own),
        "n_scenarios": len({record.settings["scenario"] for record in own}),
        "n_failed": sum(record.status == "failed" for record in own),
        "eligible": bool(hits),
    }


def _hits(own: Sequence[Record], cases: set[_Case]) -> Hits:
    """Each image's mean over the scenarios, by seed; empty where a scenario or seed is missing or failed."""
    found = {_case(record): images(record) for record in own if record.status == "finished"}
    if found.keys() != cases:
        return {}
    lengths = {case: len(values) for case, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"streams to choose by must be of one length, not {lengths}")
    seeds = sorted({seed for _, seed in cases})
    return {s: np.mean([found[case] for case in cases if case[1] == s], axis=0) for s in seeds}


def _rounded(hits: Hits) -> float:
    """The accuracy, the same for the same images whatever the order they are summed in."""
    return round(estimate(hits).mean, 9) if hits else 0.0


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
