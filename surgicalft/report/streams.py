"""Tables 2, 3, 9 and 10 from our records: MEMO with frozen parameters, episodic and online, the paper's values beside.

Accuracies of a short stream are uncertain, differences between rows less so: they are paired image by image.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from surgicalft.report.stream_results import (
    CHOSEN,
    Cell,
    Estimate,
    accuracy,
    cells,
    estimate,
    minus,
)
from surgicalft.report.stream_rows import (
    UNCHANGED,
    Row,
    in_order,
    paper,
    paper_gain,
    paper_images,
    stream,
    title,
)
from surgicalft.sweep.record import Record

WORDS = {  # what a difference is to
    "accuracy": "accuracy (%)",
    "gain": "minus no adaptation (points)",
    "over_all": "minus tuning all in the same mode (points)",
}
_Found = dict[tuple[str, Row, str], Cell]


def stream_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row per model, row of Table 9 and scenario, and per family of scenarios (`family/*`): means over seeds.

    `accuracy` (%) has the binomial error sqrt(p (100 - p) / n) of n = `n_test` images; of a family's mean, the
    scenarios showing the same images, sd / sqrt(n) of the images' own means over scenarios. `gain` is the
    difference to no adaptation and `over_all` that to all parameters in the same mode (points), paired by image:
    sd / sqrt(n) of the images' differences. These are errors of one seed's images, `*_seed_error` = sd / sqrt(seeds)
    are those over seeds (NaN of one). `paper`, `paper_gain`: the paper's values, of a family the mean over the same
    corruptions. `stream` says where a stream is shorter than the paper's; learning rate, steps, weight decay and
    optimiser are those that were chosen (NaN or "" where scenarios differ).

    Raises ValueError as `surgicalft.report.stream_results.cells` does.
    """
    found = {(cell.model, cell.row, cell.scenario): cell for cell in cells(records)}
    models = list(dict.fromkeys(model for model, _, _ in found))
    scenarios = in_order(name for _, _, name in found)

    def place(key: tuple[str, Row, str]) -> tuple[Any, ...]:
        return models.index(key[0]), *key[1].key(), scenarios.index(key[2])

    return pd.DataFrame([_row(found[key], found) for key in sorted(found, key=place)])


def wide_table(table: pd.DataFrame, what: str = "accuracy") -> pd.DataFrame:
    """A stream table as people read it: rows as in Table 9, a column per scenario, cells `53.2 (2.2) [56.3]`.

    That is ours, its standard error (the larger of that of the images and that over seeds) and the paper's value.
    `what`: "accuracy", "gain" (to no adaptation, paired) or "over_all" (to all parameters, paired). The last column
    says where the stream is shorter than the paper's.

    Raises ValueError for another `what`, and where a scenario has several models.
    """
    if what not in WORDS:
        raise ValueError(f"what must be one of {list(WORDS)}, not {what!r}")
    twice = table[table.duplicated(["name", "scenario"])]
    if len(twice):
        models = list(dict.fromkeys(table["model"]))
        raise ValueError(
            f"{twice['scenario'].iloc[0]} is there for several models; keep one of {models}"
        )
    shown = table[table["mode"] != UNCHANGED.mode] if what != "accuracy" else table
    titles = _titles(in_order(table["scenario"]))
    rows = []
    for name, own in shown.groupby("name", sort=False):
        by_scenario = own.set_index("scenario").to_dict("index")
        texts = {t: _text(by_scenario[s], what) for s, t in titles.items() if s in by_scenario}
        rows.append(
            {"parameters": name, **texts, "stream": "; ".join(dict.fromkeys(own["stream"]))}
        )
    columns = ["parameters", *titles.values(), "stream"]
    return pd.DataFrame(rows, columns=columns).fillna("-")


def company_notes(table: pd.DataFrame, what: str = "accuracy") -> dict[str, str]:
    """What a reader of a stream table has to know, for its company."""
    short = [text for text in dict.fromkeys(table["stream"]) if " of " in text]
    failed = table[table["n_scenarios"] == 1]["n_failed"].sum()
    notes = {
        "cells": f"{WORDS[what]} (standard error) [the paper's]",
        "streams cut short": f"{', '.join(short)} images" if short else "",
        "failed runs, left out": str(failed) if failed else "",
        "the paper's values": paper_note(table),
    }
    return {name: text for name, text in notes.items() if text}


def paper_note(table: pd.DataFrame) -> str:
    """What the paper's values of a stream table are; "" where there are none."""
    known = table[table["paper"].notna()]
    sources = sorted({source.split(" (")[0] for source in known["paper_source"]})
    images = ", ".join(f"{n:,}" for n in sorted(set(known["paper_images"])))
    means = "; of a mean, the mean over the same corruptions" * bool(
        (known["n_scenarios"] > 1).any()
    )
    note = f"{', '.join(sources)}, on {images} images, without standard errors{means}"
    return note if len(known) else ""


def _row(cell: Cell, found: _Found) -> dict[str, Any]:
    model, row, scenario = cell.model, cell.row, cell.scenario
    finished = cell.finished
    n_test = max((len(values) for values in cell.hits.values()), default=0)
    return {
        **{"model": model, "mode": row.mode, "name": row.name(model), "label": row.label(model)},
        **{"method": row.method, "selection": row.selection, "scenario": scenario},
        **_columns("accuracy", accuracy(cell)),
        **_columns("gain", _difference(cell, UNCHANGED, found)),
        **_columns("over_all", _difference(cell, row.full(), found)),
        **_paper(cell),
        **{"stream": stream(n_test, scenario), "n_test": n_test},
        **{"paper_images": paper_images(scenario), "n_scenarios": len(cell.scenarios)},
        **{"n": len(cell.hits), "seeds": tuple(sorted(cell.hits))},
        "n_failed": len(cell.records) - len(finished),
        **_settings(cell),
        "device": ", ".join(sorted({record.device for record in finished})),
        "provenance": "; ".join(sorted({record.provenance for record in finished})),
    }


def _columns(name: str, found: Estimate) -> dict[str, float]:
    return {
        name: found.mean,
        f"{name}_error": found.error,
        f"{name}_seed_error": found.seed_error,
    }


def _difference(cell: Cell, to: Row, found: _Found) -> Estimate:
    """Paired by image; unknown where the other is not there or is the same."""
    other = found.get((cell.model, to, cell.scenario))
    if other is None or to == cell.row or cell.row == UNCHANGED:
        return Estimate()
    return estimate(minus(cell.hits, other.hits))


def _paper(cell: Cell) -> dict[str, Any]:
    """The paper's value and gain; of a family, means over the scenarios that are there."""
    known = [paper(cell.row, cell.model, name) for name in cell.scenarios]
    values = [math.nan if one is None else one.value for one in known]
    gains = [paper_gain(cell.row, cell.model, name) for name in cell.scenarios]
    sources = {"" if one is None else one.source for one in known}
    return {
        "paper": round(sum(values) / len(values), 2),
        "paper_gain": round(sum(gains) / len(gains), 2),
        "paper_source": "" if "" in sources else "; ".join(sorted(sources)),
    }


def _settings(cell: Cell) -> dict[str, Any]:
    """What was chosen; of no adaptation, no step."""
    if cell.row == UNCHANGED:
        return {"learning_rate": 0.0, "steps": 0.0, "weight_decay": 0.0, "optimizer": "-"}
    found: dict[str, Any] = {}
    for name in CHOSEN:
        values = {record.settings[name] for record in cell.records}
        unknown = "" if name == "optimizer" else math.nan
        found[name] = values.pop() if len(values) == 1 else unknown
    return found


def _titles(scenarios: Sequence[str]) -> dict[str, str]:
    """Corruptions by their name alone, unless there are several families."""
    short = {name: title(name) for name in scenarios}
    return short if len(set(short.values())) == len(short) else {name: name for name in scenarios}


def _text(row: dict[str, Any], what: str) -> str:
    """`53.2 (2.2) [56.3]`, differences with their sign, two decimals where the error asks for them."""
    mean, errors = row[what], (row[f"{what}_error"], row[f"{what}_seed_error"])
    if math.isnan(mean):
        return "failed" if row["n"] == 0 else "-"
    error = max((value for value in errors if not math.isnan(value)), default=math.nan)
    digits = 2 if 0.005 <= error < 0.095 else 1
    sign = "" if what == "accuracy" else "+"
    printed = row.get({"accuracy": "paper", "gain": "paper_gain"}.get(what, ""), math.nan)
    own = f"{_whole(mean, digits):{sign}.{digits}f} ({error:.{digits}f})"
    return own if math.isnan(printed) else f"{own} [{_whole(printed, 1):{sign}.1f}]"


def _whole(value: float, digits: int) -> float:
    """Rounded, and no negative zero."""
    return round(value, digits) + 0.0
