"""The recommendation for a user's own network in words, and the kind of shift that it suggests."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from surgicalft.report.claims import ERRORS
from surgicalft.report.markdown import uncertain
from surgicalft.report.own_model import UNCLEAR, best, difference, failures
from surgicalft.sweep.record import Record

KINDS = {  # section 2.1 of the paper
    "input": "early blocks point to a shift of the inputs, such as noise, blur or another camera",
    "feature": "middle blocks point to a shift of features, such as new sorts of objects in the known classes",
    "output": "the last layer points to a shift of the outputs, such as other labels or a cue that no longer holds",
}


@dataclass(frozen=True)
class Conclusion:
    """`recommended` is the selection to tune, `kind` the kind of shift, of `KINDS` or "unclear"; `text` says why."""

    recommended: str
    kind: str
    text: str


def conclude(runs: pd.DataFrame, table: pd.DataFrame, levels: Mapping[str, str]) -> Conclusion:
    """From `chosen_runs`, their table, and selection -> level for all but "all" and "none" (see `level_of`).

    Recommended is the selection, of all tried, with the highest validation accuracy. The kind of shift follows from the
    best part of the network, if it is ahead of no tuning, and of every part on another level, by more than two errors
    on the test images. Raises RuntimeError where nothing that was tuned has a finished run for every seed.
    """
    names = list(table["selection"])
    recommended = best(runs, names)
    if recommended is None or best(runs, [name for name in names if name != "none"]) is None:
        raise RuntimeError(
            "no tuned selection has a finished run for each seed: nothing to compare"
        )
    kind, why = _kind(runs, levels)
    sentences = (
        _headline(table.set_index("selection"), recommended),
        _against_all(runs, recommended),
        why,
    )
    return Conclusion(recommended, kind, " ".join(filter(None, sentences)))


def _headline(table: pd.DataFrame, name: str) -> str:
    row, untuned = table.loc[name], table.loc["none", "test_accuracy"]
    accuracy = f"{uncertain(row['test_accuracy'], row['test_accuracy_error'])} % on the test images"
    if name == "none":
        return f"Tune nothing: {accuracy}. No tuning does better on the validation images."
    what = "everything" if name == "all" else name
    before = (
        "the run without tuning failed" if math.isnan(untuned) else f"{untuned:.1f} without tuning"
    )
    part = "" if name == "all" else f", with {row['share']:.2g} % of the parameters"
    return f"Tune {what}: {accuracy}, {before}{part}."


def _against_all(runs: pd.DataFrame, name: str) -> str:
    if name == "all":
        return ""
    lead = difference(runs, name, "all")
    return {
        "ahead": f"That is ahead of tuning everything ({lead}).",
        "level": f"That is level with tuning everything ({lead}).",
        "behind": f"Tuning everything is better on the test images ({lead}), which validation did not show.",
        "": "Tuning everything failed, so there is nothing to compare it with.",
    }[lead.verdict]


def _kind(runs: pd.DataFrame, levels: Mapping[str, str]) -> tuple[str, str]:
    """The kind of shift, and the sentences that say why, or why it is unclear."""
    unclear = "the kind of shift stays unclear"
    known = [name for name, level in levels.items() if level in KINDS]
    block = best(runs, known)
    if block is None:
        return UNCLEAR, f"No single part of the network has results for each seed: {unclear}."
    gain = difference(runs, block, "none")
    if not gain.verdict:
        return UNCLEAR, f"There is no result without tuning to compare with: {unclear}."
    if gain.verdict != "ahead":
        return (
            UNCLEAR,
            f"The best part to tune, {block}, is not clearly ahead of no tuning ({gain}): {unclear}.",
        )
    elsewhere = [name for name in known if levels[name] != levels[block]]
    leads = {name: difference(runs, block, name) for name in elsewhere}
    leads = {name: lead for name, lead in leads.items() if lead.verdict}
    if not leads:
        return UNCLEAR, f"Nothing was tried in other parts of the network than {block}: {unclear}."
    rival = min(leads, key=lambda name: leads[name].mean - ERRORS * leads[name].error)
    lead = leads[rival]
    compared = f"{block} against {rival}, the closest part elsewhere: {lead}"
    if lead.verdict == "ahead":
        return levels[block], f"By the paper's rule, {KINDS[levels[block]]} ({compared})."
    kinds = " or ".join(kind for kind in KINDS if kind in (levels[block], levels[rival]))
    return UNCLEAR, f"Whether the shift is one of {kinds} stays unclear ({compared})."


def failure_notes(records: Sequence[Record]) -> Iterator[str]:
    """For each selection of which runs failed: how many of how many, why, and what that leaves out."""
    for name, found in failures(records).items():
        count = f"{found.failed} of {found.total} runs failed and are left out"
        if found.failed == found.total:
            count = f"all {found.total} runs failed" if found.total > 1 else "its only run failed"
        lacking = ", ".join(map(str, found.seeds))
        seeds = "seeds" if len(found.seeds) > 1 else "seed"
        result = f" Without a result for {seeds} {lacking} it is not recommended."
        yield f"{name}: {count}; the first {found.reason}.{result if found.seeds else ''}"


def cautions(table: pd.DataFrame, tried: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """What a reader should mind: rates at the end of those tried (selection -> rates)."""
    chosen = dict(zip(table["selection"], map(_mostly, table["learning_rates"]), strict=True))
    for edge, end in (("smallest", min), ("largest", max)):
        if at := [n for n, rates in tried.items() if len(rates) > 1 and chosen[n] == end(rates)]:
            yield f"The {edge} learning rate was mostly the best for {', '.join(at)}: try beyond it."


def _mostly(rates: Sequence[float]) -> float | None:
    """The rate that more than half of these are."""
    rate, times = Counter(rates).most_common(1)[0] if rates else (None, 0)
    return rate if 2 * times > len(rates) else None
