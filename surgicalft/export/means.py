"""Tables of chosen learning rates and of means over seeds, in which no failed run goes missing."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from surgicalft.export.columns import check_names, groups, setting_names
from surgicalft.report.chosen import TUNED
from surgicalft.settings import check_choice
from surgicalft.sweep.frame import to_frame
from surgicalft.sweep.record import Record
from surgicalft.sweep.rules import RULES, candidates, choose

RULE_NOTES = {"oracle": "oracle (reads test data: an upper bound, not a result)"}
_ADDED = ("metric", "mean", "standard_error", "n", "seeds", "n_failed", "n_test", "rule")


def choose_rates(records: Iterable[Record], rule: str = "target_valid") -> pd.DataFrame:
    """The run that `rule` chooses among learning rates (and strengths), for all other settings and seeds there are.

    A row of `to_frame` each, with `choice.rule`, `choice.candidates` (how many runs it was chosen among) and
    `choice.failed` (how many of these failed). Where all failed, the first of them stands for them.
    Rules: surgicalft.sweep.rules; `oracle` reads test data.
    Raises ValueError for an unknown rule, and where finished runs lack what the rule looks at.
    """
    check_choice("rule", rule, RULES)
    groups = candidates(records, TUNED)
    frame = to_frame([_chosen(group, rule) for group in groups])
    frame["choice.rule"] = rule
    frame["choice.candidates"] = [len(group) for group in groups]
    frame["choice.failed"] = [sum(r.status == "failed" for r in group) for group in groups]
    return frame


def _chosen(group: list[Record], rule: str) -> Record:
    if all(record.status == "failed" for record in group):
        return group[0]
    try:
        return choose(group, rule, TUNED)
    except (ValueError, KeyError) as error:
        fixed = {name: v for name, v in group[0].settings.items() if name not in TUNED}
        reason = f"they have no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{rule} can't choose among the runs of {json.dumps(fixed)}: {reason}. Leave them out by a condition"
        ) from error


def mean_over(
    frame: pd.DataFrame, over: Sequence[str] = ("seed",), metric: str = "test_accuracy"
) -> pd.DataFrame:
    """The mean of `metric` over the settings `over`, a row per combination of all the others.

    frame: of `to_frame` or `choose_rates`; of the latter, learning rates and strengths may differ within a mean.
    Columns: the settings; `metric`, its name; `mean` and `standard_error` = sd / sqrt(n), ddof = 1, NaN for n = 1;
    `n` finished runs; `seeds`, those of `over` in them; `n_failed`; `n_test`, the most; of chosen ones `learning_rates`
    and `rule`; `device` and `provenance`. A finished run without the metric makes the mean NaN. Failed runs are in
    no mean; a combination of failed runs alone has n = 0.
    Raises ValueError for a name in `over` that is no setting, and a `metric` that is no column of numbers.
    """
    settings = setting_names(frame)
    numbers = list(frame.select_dtypes("number"))
    check_names("metric", [metric], [name for name in numbers if name not in settings])
    check_names("setting to average over", over if len(frame) else (), settings)
    tuned = [name for name in TUNED if name in settings] if "choice.rule" in frame else []
    fixed = [name for name in settings if name not in (*over, *tuned)]
    rows = [
        {_free(name): value for name, value in group[fixed].iloc[0].items()}
        | _row(group, over, metric)
        | {f"{name}s": tuple(_finished(group)[name]) for name in tuned}
        | {"device": _joined(group, "device"), "provenance": _joined(group, "provenance")}
        for _, group in groups(frame, fixed)
    ]
    columns = [*map(_free, fixed), *_ADDED[:-1], "device", "provenance"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def _row(group: pd.DataFrame, over: Sequence[str], metric: str) -> dict[str, Any]:
    finished = _finished(group)
    values = finished[metric].astype("float64")
    failed = group["choice.failed"] if "choice.failed" in group else group["status"] == "failed"
    rule = {"rule": group["choice.rule"].iloc[0]} if "choice.rule" in group else {}
    return {
        "metric": metric,
        "mean": values.mean(skipna=False),
        "standard_error": values.sem(ddof=1, skipna=False),
        "n": len(finished),
        "seeds": tuple(_seed(row) for row in finished[list(over)].to_numpy().tolist()),
        "n_failed": int(failed.sum()),
        "n_test": finished["n_test"].max() if len(finished) else pd.NA,
        **rule,
    }


def _finished(group: pd.DataFrame) -> pd.DataFrame:
    return group[group["status"] == "finished"]


def _seed(row: list[Any]) -> Any:
    """The values averaged over: 0 of seed alone, `0/1` of several settings."""
    texts = [
        int(value) if isinstance(value, float) and value.is_integer() else value for value in row
    ]
    return texts[0] if len(texts) == 1 else "/".join(map(str, texts))


def _joined(group: pd.DataFrame, name: str) -> str:
    return "; ".join(sorted(set(_finished(group)[name]) - {""}))


def _free(name: str) -> str:
    """A setting called like a column of the table becomes `settings.NAME`, as in `to_frame`."""
    return f"settings.{name}" if name in _ADDED else name
