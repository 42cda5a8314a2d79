"""Tables of runs: mean and standard error over seeds, and the paper's numbers beside them."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from surgicalft.report.beside import beside
from surgicalft.report.chosen import Chosen, chosen, differences, grouped, pooled
from surgicalft.report.markdown import markdown
from surgicalft.report.paper import Published
from surgicalft.sweep.record import Record

BY = ("scenario", "model", "n_tune", "selection")
_TUPLES = {"seeds": int, "learning_rates": float}
_ACCURACIES = ("worst_group",)  # among the metrics of a record
_TEXTS = (*_TUPLES, "paper_source", "device", "provenance")  # may be empty, which is not NaN


def summary(
    records: Iterable[Record],
    by: Sequence[str] = BY,
    rule: str = "target_valid",
    pool: bool = False,
) -> pd.DataFrame:
    """One row per combination of the settings `by`: the mean over seeds of the test accuracy (%).

    For each seed `rule` chooses the learning rate. `standard_error` = sd / sqrt(n) with ddof = 1 is
    NaN for one seed; `binomial_error` = sqrt(p (100 - p) / n_test) is what the finite test split
    alone gives one run. Failed runs count in `n_failed` and in no mean. With `pool`, rows
    `family/*` are added: the mean over a family's scenarios by seed, for seeds that have them all.
    `paper` is the paper's value where its tables give one; `worst_group` (%), where the data have groups, the
    lowest accuracy among them; `forward_passes` what the chosen run cost.

    Raises ValueError where there is no record, and where those of one row differ in a setting
    beyond `by`, seed and learning rate.
    """
    cells = chosen(records, rule)
    rows = []
    for key, group in grouped(cells + (pooled(cells) if pool else []), by).items():
        rates = [rate for cell in _counted(group) for rate in cell.learning_rates]
        options = {"learning_rates": tuple(rates), "rule": rule}
        rows.append(_named(by, key) | _row(group) | options | _paper(beside(group[0].settings)))
    return _sorted(rows, by)


def paired_difference(
    records: Iterable[Record],
    a: str = "block 1",
    b: str = "all",
    by: Sequence[str] = ("scenario", "model", "n_tune"),
    rule: str = "target_valid",
) -> pd.DataFrame:
    """Accuracy of selection `a` minus that of `b` (points), paired by seed: mean, standard error.

    A row per scenario, and `family/*` for the difference averaged over a family within each seed.
    `binomial_error` takes the two as independent: too large, since both see the same test images.

    Raises ValueError with the selections there are where `a` or `b` has no records.
    """
    cells = chosen(records, rule)
    legal = sorted({cell.settings["selection"] for cell in cells}, key=selection_key)
    for name in (a, b):
        if name not in legal:
            raise ValueError(f"selection must be one of {legal}, not {name!r}")
    rows = []
    for key, group in grouped(differences(cells + pooled(cells), a, b), by).items():
        settings = group[0].settings
        ours, other = (beside({**settings, "selection": name}) for name in (a, b))
        paper = ours and other and Published(round(ours.value - other.value, 2), None, ours.source)
        options = {"a": a, "b": b, "rule": rule}
        rows.append(_named(by, key) | _row(group) | options | _paper(paper))
    return _sorted(rows, by)


def selection_key(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Sorts selections as the network does: what embeds, blocks by their number, then last, all and none."""
    start, end = ("stem", "embedding", "first layers", "first_three"), ("last", "all", "none")
    parts = re.findall(r"\d+|\D+", name)
    natural = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
    if name in start:
        return start.index(name) - len(start), natural
    return (1 + end.index(name) if name in end else 0), natural


def company(records: Iterable[Record], **more: Any) -> dict[str, Any]:
    """What a table is published with: `more` (profile, rule, command), settings, device, versions.

    What differs between the records is given as the list of its values.
    """
    records = list(records)
    names = dict.fromkeys(name for record in records for name in record.settings)
    packages = sorted({name for record in records for name in record.versions})
    return {
        **more,
        "runs": len(records),
        "failed": sum(record.status == "failed" for record in records),
        **{name: _distinct(r.settings.get(name) for r in records) for name in names},
        "device": _distinct(record.device for record in records),
        "provenance": _distinct(record.provenance for record in records),
        "versions": {
            name: _distinct(r.versions.get(name, "") for r in records) for name in packages
        },
        "seconds": round(sum(record.wall_time for record in records), 1),
        "created": sorted({min(r.created for r in records), max(r.created for r in records)})
        if records
        else [],
    }


def write_table(frame: pd.DataFrame, stem: str | Path, settings: dict[str, Any]) -> list[Path]:
    """Write `stem.csv` (every digit), `stem.md` (to read) and `stem.json` (the settings)."""
    paths = [Path(f"{stem}.{suffix}") for suffix in ("csv", "md", "json")]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    plain = frame.copy()
    for name in _TUPLES.keys() & set(frame.columns):
        plain[name] = [" ".join(map(str, value)) for value in frame[name]]
    plain.to_csv(paths[0], index=False, lineterminator="\n")
    paths[1].write_text(markdown(frame, settings), encoding="utf-8")
    paths[2].write_text(json.dumps(settings, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return paths


def read_table(stem: str | Path) -> pd.DataFrame:
    """The table that `write_table` wrote, all digits kept."""
    texts = dict.fromkeys(_TEXTS, str)
    frame = pd.read_csv(f"{stem}.csv", float_precision="round_trip", dtype=texts)
    for name in texts.keys() & set(frame.columns):
        frame[name] = frame[name].fillna("")
    for name, number in _TUPLES.items():
        if name in frame:
            frame[name] = [tuple(map(number, text.split())) for text in frame[name]]
    return frame


def _row(group: list[Chosen]) -> dict[str, Any]:
    cells = _counted(group)
    values = pd.Series([cell.accuracy for cell in cells], dtype=float)
    variances = pd.Series([cell.variance for cell in cells], dtype=float)
    return {
        "mean": values.mean(),
        "standard_error": values.sem(ddof=1),
        "n": len(cells),
        "seeds": tuple(cell.settings["seed"] for cell in cells),
        "binomial_error": math.sqrt(variances.mean()) if cells else math.nan,
        "n_test": max((cell.n_test for cell in cells), default=0),
        "n_failed": sum(cell.n_failed for cell in group),
        "n_scenarios": max(cell.n_scenarios for cell in group),
        "device": ", ".join(sorted(frozenset().union(*(cell.device for cell in cells)))),
        "provenance": "; ".join(sorted(frozenset().union(*(cell.provenance for cell in cells)))),
        **_metrics(cells),
    }


def _metrics(cells: list[Chosen]) -> dict[str, float]:
    """Means of the further metrics that all these runs have, of accuracies the standard error too."""
    columns: dict[str, float] = {}
    for name in cells[0].metrics if cells else ():
        values = pd.Series([cell.metrics.get(name, math.nan) for cell in cells])
        columns[name] = values.mean(skipna=False)
        if name in _ACCURACIES:
            columns[f"{name}_error"] = values.sem(ddof=1)
    return columns


def _counted(group: list[Chosen]) -> list[Chosen]:
    finished = [cell for cell in group if not math.isnan(cell.accuracy)]
    return sorted(finished, key=lambda cell: cell.settings["seed"])


def _paper(paper: Published | None) -> dict[str, Any]:
    if paper is None:
        return {"paper": math.nan, "paper_error": math.nan, "paper_source": ""}
    error = math.nan if paper.stderr is None else paper.stderr
    return {"paper": paper.value, "paper_error": error, "paper_source": paper.source}


def _named(by: Sequence[str], key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(by, key, strict=True))


def _sorted(rows: list[dict[str, Any]], by: Sequence[str]) -> pd.DataFrame:
    def key(row: dict[str, Any]) -> list[Any]:
        return [
            selection_key(row[n]) if n == "selection" else (str(type(row[n])), row[n]) for n in by
        ]

    if not rows:
        raise ValueError("there are no records to report, or no seed that has both selections")
    return pd.DataFrame(sorted(rows, key=key))


def _distinct(values: Iterable[Any]) -> Any:
    found = {json.dumps(value, sort_keys=True): value for value in values if value != ""}
    try:
        several = sorted(found.values())
    except TypeError:  # None beside numbers
        several = [found[text] for text in sorted(found)]
    return several[0] if len(several) == 1 else several
