"""The test bench of criteria: which method reaches Cross-Val's accuracy at the price of about one run?

The paper leaves it open (section 6: Auto-RGN does not match the best surgical fine-tuning). Scenarios that a candidate
was designed on are told apart from those held out. Validation data choose runs, as everywhere; test data are what is
reported and choose nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from scipy.stats import t as student

from surgicalft.report.estimates import Estimate, over_scenarios, over_seeds, share_of
from surgicalft.report.markdown import uncertain
from surgicalft.report.options import FULL, OPTIONS, UNTUNED, Option, results
from surgicalft.sweep.record import Record

TOP, BASE = "Cross-Val", "Auto-RGN"
SHARE, BUDGET = 0.5, 1.5  # of the gap; in runs of full fine-tuning
CONFIDENCE = 0.95  # two-sided, by Student's t: there are few seeds, and few scenarios
METHOD = (
    "share = mean gain / mean gap, every scenario weighing the same. Errors are over seeds, the scenarios being fixed; "
    "the jackknife's over scenarios says how much hangs on which scenarios these are. Cost in runs of full "
    "fine-tuning, a run being one with its learning rates. Verdicts by the "
    f"{CONFIDENCE:.0%} confidence interval of gain - {SHARE:g} gap (Student's t): over seeds, and over scenarios"
)


def accuracy_and_cost(
    records: Iterable[Record],
    design: Sequence[str] = (),
    options: Sequence[Option] = OPTIONS,
    rule: str = "target_valid",
) -> pd.DataFrame:
    """One row per option and part: the mean over scenarios of accuracy (%) and of cost, in full fine-tuning runs.

    `part` is "design" for the scenarios named so, "held-out" for the others. `standard_error` is over seeds of the
    mean over scenarios, `binomial_error` what the finite test splits alone give one seed; `gain` is the lead over
    full fine-tuning and `gain_error` its standard error over scenarios.
    An option that lacks a scenario or seed which others have, or whose runs all failed there, has NaN.

    Raises ValueError for an unknown scenario in `design`.
    """
    cells = results(records, options, rule)
    rows = []
    for part, scenarios in parts(cells["scenario"], design).items():
        own = cells[cells["scenario"].isin(scenarios)]
        accuracy = _by_option(own, "accuracy")
        complete = accuracy.columns[accuracy.notna().all()]
        for option in accuracy.columns:
            one = own[own["option"] == option]
            values = (
                accuracy[option].unstack().mean() if option in complete else pd.Series([math.nan])
            )
            gains = over_scenarios(accuracy[option] - accuracy.get(FULL, math.nan))
            rows.append(
                {
                    **{"part": part, "option": option, "kind": one["kind"].iloc[0]},
                    **{"mean": values.mean(), "standard_error": values.sem(ddof=1)},
                    "binomial_error": _binomial(one),
                    **{"n": int(values.notna().sum()), "n_scenarios": len(scenarios)},
                    "gain": gains.mean if option in complete else math.nan,
                    "gain_error": gains.error if option in complete else math.nan,
                    **{name: one[name].mean() for name in ("cost", "full_runs", "time")},
                    **{"n_failed": int(one["n_failed"].sum()), "scenarios": ", ".join(scenarios)},
                }
            )
    return pd.DataFrame(rows)


def gap_closed(
    records: Iterable[Record],
    candidates: Sequence[str] = (),
    design: Sequence[str] = (),
    options: Sequence[Option] = OPTIONS,
    rule: str = "target_valid",
) -> pd.DataFrame:
    """One row per part and candidate: which share of the gap between Auto-RGN and Cross-Val it closes, at which cost.

    On each scenario and seed gap = Cross-Val - Auto-RGN and gain = candidate - Auto-RGN, in points of test accuracy;
    `share` = mean gain / mean gap, with `share_error` over seeds and `jackknife_error` over scenarios: see `METHOD`.
    Where the mean gap is not positive there is no share (NaN). `half_closed`: on how many scenarios gain >= gap / 2.
    `cost` is relative to full fine-tuning with its learning rates, `full_runs` to a single run of it.

    `verdict`: "yes" or "no" to "closes half of the gap at no more than 1.5 runs on these scenarios", "undecided" where
    the 95 % confidence interval of gain - gap / 2 over seeds holds 0, "too expensive", "no gap", "no runs", "cost
    unknown". `elsewhere`: the same of scenarios like these, by the interval over scenarios. `candidates`: labels, all
    others if empty.

    Raises ValueError where Cross-Val, Auto-RGN or a candidate has no results, and for an unknown scenario in `design`.
    """
    cells = results(records, options, rule)
    found = list(dict.fromkeys(cells["option"]))
    for label in (TOP, BASE, *candidates):
        if label not in found:
            raise ValueError(f"no runs of {label!r}; there are runs of {found}")
    chosen = candidates or [label for label in found if label not in (TOP, BASE, UNTUNED)]
    rows = []
    for part, scenarios in parts(cells["scenario"], design).items():
        own = cells[cells["scenario"].isin(scenarios)]
        rows += [_row(part, label, own) for label in chosen]
    return pd.DataFrame(rows)


def readable(gaps: pd.DataFrame) -> pd.DataFrame:
    """The table of `gap_closed` as people read it: errors beside their means, the share in percent."""

    def pairs(name: str, times: float = 1.0) -> list[str]:
        return [
            uncertain(times * v, times * e)
            for v, e in zip(gaps[name], gaps[f"{name}_error"], strict=True)
        ]

    return pd.DataFrame(
        {
            **{"scenarios": gaps["part"], "method": gaps["option"]},
            "share of the gap (%)": pairs("share", 100.0),
            "jackknife error (%)": [_digits(100 * value, 1) for value in gaps["jackknife_error"]],
            **{"gain (points)": pairs("gain"), "gap (points)": pairs("gap")},
            **{name: [_digits(value) for value in gaps[name]] for name in ("cost", "full_runs")},
            "scenarios half closed": [
                f"{k} of {n}" for k, n in zip(gaps["half_closed"], gaps["n_scenarios"], strict=True)
            ],
            **{
                "half closed at 1.5 runs": gaps["verdict"],
                "on scenarios like these": gaps["elsewhere"],
            },
        }
    ).rename(columns={"full_runs": "cost in single runs"})


def parts(scenarios: Iterable[str], design: Sequence[str]) -> dict[str, list[str]]:
    """The scenarios used for design and those held out, whichever there are; ValueError for an unknown one."""
    names = sorted(set(scenarios))
    unknown = sorted(set(design) - set(names))
    if unknown:
        raise ValueError(f"design scenarios {unknown} have no runs; there are runs on {names}")
    split = {
        "design": [name for name in names if name in design],
        "held-out": [name for name in names if name not in design],
    }
    return {part: found for part, found in split.items() if found}


def verdict(margin: Estimate, gap: float, cost: float) -> str:
    """Whether half of the gap is closed within the budget, from the mean of gain - gap / 2 and the mean gap."""
    if math.isnan(gap):
        return "no runs"
    if gap <= 0:
        return "no gap"
    if math.isnan(cost):
        return "cost unknown"
    if cost > BUDGET:
        return "too expensive"
    if math.isnan(margin.error):
        return "undecided"
    half_width = student.ppf((1 + CONFIDENCE) / 2, margin.freedom) * margin.error
    if abs(margin.mean) <= half_width:
        return "undecided"
    return "yes" if margin.mean > 0 else "no"


def _row(part: str, label: str, own: pd.DataFrame) -> Mapping[str, object]:
    accuracy = _by_option(own, "accuracy").reindex(columns=[TOP, BASE, label]).dropna()
    gap, gain = accuracy[TOP] - accuracy[BASE], accuracy[label] - accuracy[BASE]
    margin = gain - SHARE * gap
    mine = own[own["option"] == label]
    cost = mine["cost"].mean()
    share, error, jackknife = share_of(gain, gap)
    means = margin.groupby(level="scenario").mean()
    row: dict[str, object] = {"part": part, "option": label, "share": share, "share_error": error}
    row["jackknife_error"] = jackknife
    for name, values in (("gain", gain), ("gap", gap)):
        found = over_seeds(values)
        row |= {name: found.mean, f"{name}_error": found.error}
    return {
        **row,
        **{"cost": cost, "full_runs": mine["full_runs"].mean()},
        **{"half_closed": int((means >= 0).sum()), "n_scenarios": len(means), "n": len(gap)},
        "verdict": verdict(over_seeds(margin), over_seeds(gap).mean, cost),
        "elsewhere": verdict(over_scenarios(margin), over_seeds(gap).mean, cost),
    }


def _binomial(cells: pd.DataFrame) -> float:
    """Of the mean over scenarios of one seed, from the finite test splits."""
    means = cells.groupby("seed")["variance"].agg(lambda v: v.sum() / len(v) ** 2)
    return math.sqrt(means.mean())


def _by_option(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows: scenario and seed; columns: options, in order of appearance."""
    table = cells.pivot(index=["scenario", "seed"], columns="option", values=name)
    return table[list(dict.fromkeys(cells["option"]))]


def _digits(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
