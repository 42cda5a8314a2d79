"""Table 4 of the paper from our records: each method's accuracy, average rank and cost, the published values beside.

The published values hold for 1,000 target images (CIFAR-Flip: taken as those of CIFAR-C), the mean of 14 corruptions
and a WideResNet-28-10; a number of images of our own is named in the column's title.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from surgicalft.report.markdown import uncertain
from surgicalft.report.options import FULL, OPTIONS, Option, results
from surgicalft.report.paper import TABLES, Published
from surgicalft.sweep.record import Record

COSTS = ("cost", "full_runs", "run_cost", "time")
_PAPER = (  # scenario, column of Table 4, the paper's number of target images
    (r"cifar10[\w-]*-c/\*(/5)?", "CIFAR-C", 1000),
    (r"cifar10[\w-]*-flip", "CIFAR-F", 1000),
)
_RANK = "Avg Rank"
COST_NOTE = (
    "forward passes of the whole network over all runs of a method, relative to full fine-tuning: at all its learning "
    "rates (cost), to one of its runs (cost in full runs), one run to one run (cost of one run); time: seconds, as cost"
)
PAPER_NOTE = (
    "Table 4, for 1,000 target images, a WideResNet-28-10 and, of corruptions, the mean of 14. Its average ranks are "
    "over its seven scenarios and six methods; they are as printed, and no rule for ties gives them from its accuracies"
)


def method_table(
    records: Iterable[Record], options: Sequence[Option] = OPTIONS, rule: str = "target_valid"
) -> pd.DataFrame:
    """One row per option and scenario, and per option and family of scenarios: means over seeds, as in Table 4.

    `mean`, `standard_error` (ddof = 1; NaN of one seed) and `binomial_error` are of the test accuracy (%) of the run
    that `rule` chooses; a family's (`family/*`) is the mean over its scenarios within each seed that has them all.
    `cost`, `full_runs`, `run_cost`, `time`: see `surgicalft.report.options.results`; means over seeds and scenarios.
    `average_rank`: see `average_ranks`, among the paper's methods of one run; `rank_of_all`: among all of one run.
    `paper`: Table 4's value for the mean over CIFAR-10's corruptions and for CIFAR-Flip, else NaN.

    Raises ValueError as `results` does.
    """
    cells = results(records, options, rule)
    cells = pd.concat([cells.assign(n_scenarios=1), _pooled(cells)], ignore_index=True)
    order = {option.label: i for i, option in enumerate(options)}
    by = ["option", "scenario", "model", "n_tune"]
    rows = [
        dict(zip(by, key, strict=True)) | _row(key[0], key[1], group)
        for key, group in cells.groupby(by, sort=False)
    ]
    table = pd.DataFrame(sorted(rows, key=lambda row: (order[row["option"]], row["scenario"])))
    return _ranked(table)


def average_ranks(means: pd.DataFrame) -> pd.Series:
    """Mean over scenarios of the rank by accuracy, 1 the best; ties share the mean of their ranks.

    means: accuracies, one row per method, one column per scenario. A method without all of them has none (NaN)
    and takes part in no rank.
    """
    complete = means.dropna()
    return complete.rank(ascending=False, method="average").mean(axis=1).reindex(means.index)


def columns(table: pd.DataFrame) -> list[str]:
    """The scenarios of a method table as Table 4 has them: families as their means, scenarios of no family."""
    names = list(dict.fromkeys(table["scenario"]))
    means = {name for name in names if "*" in name}
    return [name for name in names if name in means or _family(name) not in means]


def wide_table(table: pd.DataFrame) -> pd.DataFrame:
    """A method table as people read it: a row per method, a column per scenario (mean ± s.e.), ranks and costs.

    Costs are means over these columns. Raises ValueError where a scenario has several models or numbers of images.
    """
    shown = table[table["scenario"].isin(columns(table))]
    twice = shown[shown.duplicated(["option", "scenario"])]
    if len(twice):
        raise ValueError(
            f"{twice['scenario'].iloc[0]} is there twice; keep one model and one n_tune"
        )
    rows = [_wide_row(label, own) for label, own in shown.groupby("option", sort=False)]
    wide = pd.DataFrame(rows).fillna("-")
    return wide.loc[:, [c for c in wide if not (c.startswith("paper") and (wide[c] == "-").all())]]


def notes(
    records: Iterable[Record],
    options: Sequence[Option] = OPTIONS,
    table: pd.DataFrame | None = None,
) -> dict[str, str]:
    """What a reader of the table has to know: what is left out, failed, uncounted, or tuned on another grid."""
    records = list({record.id: record for record in records}.values())
    held = {o.label: [r for r in records if o.holds(r.settings)] for o in options}
    mine = {record.id for own in held.values() for record in own}
    others = Counter(_method(r) for r in records if r.id not in mine)
    uncounted = [r for r in records if r.id in mine and _uncounted(r)]
    paper = table is not None and table["paper"].notna().any()
    found = {
        "costs": COST_NOTE,
        "methods without runs, left out": ", ".join(name for name, own in held.items() if not own),
        "runs of no method in the table": ", ".join(f"{n} x {name}" for name, n in others.items()),
        "failed runs": ", ".join(
            f"{name} {n}" for name, own in held.items() if (n := _failed(own))
        ),
        "finished runs whose cost was not recorded": str(len(uncounted) or ""),
        "other learning rates than full fine-tuning's": "; ".join(_other_rates(held)),
        "the paper's values": PAPER_NOTE if paper else "",
    }
    return {name: text for name, text in found.items() if text}


def _row(label: str, scenario: str, group: pd.DataFrame) -> dict[str, Any]:
    done = group[group["accuracy"].notna()].sort_values("seed")
    values = done["accuracy"]
    paper, images = _published(label, scenario)
    return {
        **{"kind": group["kind"].iloc[0], "ranked": bool(group["ranked"].iloc[0])},
        **{"mean": values.mean(), "standard_error": values.sem(ddof=1)},
        **{"n": len(done), "seeds": tuple(done["seed"])},
        "binomial_error": math.sqrt(done["variance"].mean()) if len(done) else math.nan,
        "n_test": int(done["n_test"].max()) if len(done) else 0,
        **{"n_failed": int(group["n_failed"].sum()), "runs": int(group["runs"].max())},
        "n_scenarios": int(group["n_scenarios"].max()),
        **{name: group[name].mean() for name in (*COSTS, "forward_passes", "seconds")},
        "chosen": "; ".join(f"{n} x {name}" for name, n in _counts(done["chosen"])),
        **{"rule": group["rule"].iloc[0], "device": _joined(done["device"])},
        "provenance": _joined(done["provenance"]),
        "paper": paper.value if paper else math.nan,
        "paper_error": math.nan if paper is None or paper.stderr is None else paper.stderr,
        **{"paper_images": images, "paper_source": paper.source if paper else ""},
    }


def _counts(texts: pd.Series) -> list[tuple[str, int]]:
    return sorted(Counter(name for text in texts for name in text.split("; ")).items())


def _joined(texts: pd.Series) -> str:
    return "; ".join(sorted({part for text in texts for part in text.split("; ")}))


def _pooled(cells: pd.DataFrame) -> pd.DataFrame:
    """Means over the scenarios of each family of two or more, within option and seed."""
    cells = cells.assign(family=cells["scenario"].map(_family))
    sizes = cells.groupby("family")["scenario"].nunique()
    cells = cells[cells["family"].map(sizes) > 1]
    by = ["option", "family", "model", "n_tune", "seed"]
    return pd.DataFrame(
        [_mean_row(own, sizes[key[1]]) for key, own in cells.groupby(by, sort=False)]
    )


def _mean_row(own: pd.DataFrame, size: int) -> dict[str, Any]:
    complete = len(own) == size
    first = own.iloc[0].to_dict()
    means = (*COSTS, "forward_passes", "one_run", "seconds")
    return {
        **first,
        "scenario": first["family"],
        "n_scenarios": size,
        "accuracy": own["accuracy"].mean(skipna=False) if complete else math.nan,
        "variance": own["variance"].sum() / size**2,
        "n_failed": own["n_failed"].sum(),
        "chosen": "; ".join(own["chosen"]),
        "provenance": _joined(own["provenance"]),
        **{name: own[name].mean(skipna=False) if complete else math.nan for name in means},
    }


def _family(scenario: str) -> str | None:
    """`cifar10-c/fog/3` -> `cifar10-c/*/3`; None of a scenario without a family."""
    family, *rest = scenario.split("/")
    return "/".join([family, "*", *rest[1:]]) if rest else None


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    shown = table[table["scenario"].isin(columns(table)) & table["ranked"]]
    ranks = {}
    for name, rows in (
        ("average_rank", shown[shown["kind"] == "paper"]),
        ("rank_of_all", shown),
    ):
        means = rows.pivot_table("mean", "option", "scenario", dropna=False, sort=False)
        ranks[name] = table["option"].map(average_ranks(means) if len(means) else pd.Series())
    return table.assign(**ranks, paper_rank=table["option"].map(_paper_rank))


def _published(label: str, scenario: str) -> tuple[Published | None, int]:
    for pattern, column, images in _PAPER:
        if re.fullmatch(pattern, scenario):
            return TABLES[4].cells.get((label, column)), images
    return None, 0


def _paper_rank(label: str) -> float:
    paper = TABLES[4].cells.get((label, _RANK))
    return paper.value if paper else math.nan


def _wide_row(label: str, own: pd.DataFrame) -> dict[str, str]:
    row = {"method": label}
    for cell in own.to_dict("records"):
        row[cell["scenario"]] = uncertain(cell["mean"], cell["standard_error"])
        if cell["paper_images"]:
            title = f"paper, {cell['scenario'].split('/')[0]} ({cell['paper_images']:,} images)"
            row[title] = uncertain(cell["paper"], cell["paper_error"])
    first = own.iloc[0]
    return {
        **row,
        "average rank": _digits(first["average_rank"]),
        "paper's average rank": _digits(first["paper_rank"]),
        "rank among all": _digits(first["rank_of_all"]),
        "runs": str(own["runs"].max()),
        "cost": _digits(own["cost"].mean()),
        "cost in full runs": _digits(own["full_runs"].mean()),
        "cost of one run": _digits(own["run_cost"].mean()),
        "time": _digits(own["time"].mean()),
        "failed runs": str(own["n_failed"].sum()),
    }


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _method(record: Record) -> str:
    settings = record.settings
    names = (settings["method"], settings.get("variant", ""), settings["selection"])
    return " ".join(filter(None, names))


def _failed(records: Sequence[Record]) -> int:
    return sum(record.status == "failed" for record in records)


def _uncounted(record: Record) -> bool:
    return record.status == "finished" and "forward_passes" not in record.metrics


def _other_rates(held: dict[str, list[Record]]) -> list[str]:
    """Of each option, the selections that were tried at other learning rates than full fine-tuning's."""
    full = _rates(held.get(FULL, []))
    found = []
    for label, own in held.items():
        for selection in dict.fromkeys(r.settings["selection"] for r in own):
            rates = _rates([r for r in own if r.settings["selection"] == selection])
            if rates - {0.0} and rates != full:
                listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
                found.append(f"{label} ({selection}): {listed}")
    return found


def _rates(records: Sequence[Record]) -> set[float]:
    return {
        rate for r in records for rate in (r.settings.get("rates") or [r.settings["learning_rate"]])
    }
