"""The recommendation for a user's own network in words, and the kind of shift that it suggests."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from surgicalft.report.claims import ERRORS
from surgicalft.report.markdown import uncertain
from surgicalft.report.own_model import UNCLEAR, best, difference

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
    on the test images. Raises RuntimeError where no selection has a finished run for every seed.
    """
    recommended = best(runs, list(table["selection"]))
    if recommended is None:
        raise RuntimeError("no selection has a finished run for each seed: nothing to compare")
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
    part = "" if name == "all" else f", with {row['share']:.2g} % of the parameters"
    return f"Tune {what}: {accuracy}, {untuned:.1f} without tuning{part}."


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


def cautions(table: pd.DataFrame, tried: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """What a reader should mind: rates at the end of those tried (selection -> rates), and runs that failed."""
    chosen = dict(zip(table["selection"], map(_mostly, table["learning_rates"]), strict=True))
    for edge, end in (("smallest", min), ("largest", max)):
        if at := [n for n, rates in tried.items() if len(rates) > 1 and chosen[n] == end(rates)]:
            yield f"The {edge} learning rate was mostly the best for {', '.join(at)}: try beyond it."
    for row in table[table["n_failed"] > 0].to_dict("records"):
        yield f"{row['selection']}: {row['n_failed']} failed runs are left out."


def _mostly(rates: Sequence[float]) -> float | None:
    """The rate that more than half of these are."""
    rate, times = Counter(rates).most_common(1)[0] if rates else (None, 0)
    return rate if 2 * times > len(rates) else None
