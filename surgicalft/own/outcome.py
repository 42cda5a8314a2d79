"""What `which_block` found."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn

from surgicalft.own.runs import OwnExecutor, OwnRun
from surgicalft.reuse import COMPUTED, NOTHING, NOTHING_LEARNS
from surgicalft.settings import check_choice, identity
from surgicalft.studies import Study
from surgicalft.sweep.record import Record

if TYPE_CHECKING:  # both are slow to import
    import pandas as pd
    from matplotlib.figure import Figure

SUFFIX = ".safetensors"
_SHOWN = ("selection", "learning_rates", "valid_accuracy", "test_accuracy", "difference")
_VARYING = ("method", "selection", "learning_rate", "seed", "test", "pretrain", "epochs")


@dataclass(frozen=True, repr=False)
class Outcome:
    """`table` has a row per selection (see `surgicalft.report.own_model.table`), `recommended` is one of them.

    `kind` is the kind of shift that the runs suggest: "input", "feature", "output" or "unclear"; `explanation` says
    both in words, `notes` what to mind. `records` are the runs, `settings` what they share.
    """

    table: "pd.DataFrame"
    recommended: str
    kind: str
    explanation: str
    notes: tuple[str, ...]
    records: list[Record]
    settings: dict[str, Any]
    execute: OwnExecutor = field(repr=False)
    chosen: OwnRun  # of the recommended selection, by the highest validation accuracy

    @cached_property
    def model(self) -> nn.Module:
        """A copy of the user's network with the recommended selection tuned, in eval mode on the CPU.

        The store keeps no weights: `chosen` is run once more, when this is first asked for.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in the run: another number may change last bits
        try:
            network, _ = self.execute.tune(self.chosen)
        finally:
            torch.set_num_threads(threads)
        return network.to("cpu").eval().requires_grad_(True)

    def __str__(self) -> str:
        return "\n".join([self._markdown(), self.explanation, *self.notes])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return "\n\n".join([self._markdown(), f"**{self.explanation}**", *self.notes])

    def _markdown(self, **settings: Any) -> str:
        """The table to read."""
        from surgicalft.report.markdown import markdown
        from surgicalft.report.own_model import ratio

        shown = self.table[[*_SHOWN]].rename(columns=lambda name: name.replace("_accuracy", " (%)"))
        for name in ("valid", "test"):
            shown[f"{name} (%)_error"] = self.table[f"{name}_accuracy_error"]
        shown["difference_error"] = self.table["difference_error"]
        shown = shown.rename(columns=lambda name: name.replace("difference", "minus all"))
        shown["tuned parameters"] = [f"{n:,}" for n in self.table["tuned_parameters"]]
        shown["cost"] = [ratio(cost) for cost in self.table["cost"]]
        ticks = {self.recommended: f"**{self.recommended}** ✓"}
        return markdown(shown.replace({"selection": ticks}), settings).rstrip() + "\n"

    def figure(self) -> "Figure":
        """Accuracy, tuned parameters and cost by selection."""
        from surgicalft.report.own_model_figure import own_model_figure

        about = self.settings
        count = len(about["seeds"])
        parts = [
            about["provenance"],
            f"{count} seed{'s' * (count > 1)}, {about['epochs']} epochs, {about['optimizer']}",
            f"learning rate and epoch by {about['rule']}",
            about["device"],
            f"bars: {'standard error over seeds' if count > 1 else 'binomial standard error'}",
            "✓: recommended by validation",
            "cost: forward passes relative to tuning everything",
        ]
        title = f"{about['model']} on {about['scenario']}: tune {self.recommended}"
        return own_model_figure(self.table, self.recommended, title, " · ".join(parts))

    def save(self, path: str | Path) -> Path:
        """Write the weights of `model` as safetensors, by the names of the plain network; what made them as metadata.

        `network.load_state_dict(safetensors.torch.load_file(path))` takes them. ValueError for another suffix.
        """
        path = Path(path)
        check_choice("the suffix of weights", path.suffix, (SUFFIX,))
        # Clones: a tensor under two names is written twice, as load_state_dict wants it.
        weights = {
            name: value.contiguous().clone() for name, value in self.model.state_dict().items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(weights, partial, {"surgicalft": json.dumps(self._about())})
        return partial.replace(path)

    def write(self, stem: str | Path) -> list[Path]:
        """Write `stem.csv` (every digit), `stem.md` (to read), `stem.json` (the settings) and the figure `stem.png`."""
        from surgicalft.report.style import save as save_figure
        from surgicalft.report.tables import write_table

        tables = write_table(self.table, stem, self._about())
        tables[1].write_text(self._markdown(**self._about()), encoding="utf-8")
        return [*tables, save_figure(self.figure(), stem)]

    def _about(self) -> dict[str, Any]:
        words = {"kind": self.kind, "explanation": self.explanation, "notes": [*self.notes]}
        saved = {name: getattr(self.chosen, name) for name in ("learning_rate", "seed")}
        return {**self.settings, "recommended": self.recommended, "saved": saved, **words}


def conclude_runs(
    study: Study, runs: Sequence[OwnRun], records: list[Record], execute: OwnExecutor
) -> Outcome:
    """What the records of `runs` say.

    Raises
    ------
    RuntimeError
        Where every run that tunes failed, or so many that nothing can be compared: with the first reason.
    """
    from surgicalft.report import own_model as report
    from surgicalft.report.own_model_words import cautions, conclude, failure_notes

    tuning = [record for record in records if record.settings["selection"] != "none"]
    failed = [record for record in tuning if record.status == "failed"]
    if len(failed) == len(tuning):
        first = report.one_line(failed[0].error)
        raise RuntimeError(f"every one of the {len(tuning)} tuning runs failed; the first: {first}")
    network, names = execute.network, study.selections
    found = report.chosen_runs(records)
    table = report.table(records, {name: network.size(name) for name in (*names, "none")})
    parts = {name: network.blocks.select(name).parameters for name in names if name != "all"}
    levels = {name: report.level_of(network.blocks, tensors) for name, tensors in parts.items()}
    try:
        concluded = conclude(found, table, levels)
    except RuntimeError as error:
        raise RuntimeError(" ".join([f"{error}.", *failure_notes(records)])) from error
    own = found[found["selection"] == concluded.recommended]
    chosen = own.loc[own["valid_accuracy"].idxmax(), "id"]
    return Outcome(
        table,
        concluded.recommended,
        concluded.kind,
        concluded.text,
        (
            *_notes(execute),
            *failure_notes(records),
            *_computed(records),
            *cautions(table, {name: study.rates(name) for name in names}),
        ),
        records,
        _settings(study, runs, records, execute),
        execute,
        next(run for run in runs if identity(run) == chosen),
    )


def _notes(execute: OwnExecutor) -> Iterator[str]:
    """How accuracies are to be read."""
    network, data = execute.network, execute.data
    if network.new_head:
        yield "The last layer is new: `none` is guessing, and no measure of the shift."
    elif network.outputs > data.largest_label + 1:
        yield (
            f"The network has {network.outputs} outputs, the labels end at {data.largest_label}: right where they are "
            "the network's own classes; for other classes give new_head=True."
        )
    if classes := data.describe_classes():
        yield f"{classes}."


def _computed(records: Sequence[Record]) -> Iterator[str]:
    """Where nothing could be answered from memory though something was frozen in front of what learned."""
    usual = (NOTHING, NOTHING_LEARNS)
    reasons: dict[str, list[str]] = {}
    for record in records:
        if record.reuse.startswith(COMPUTED) and not record.reuse.endswith(usual):
            reasons.setdefault(record.reuse, []).append(record.settings["selection"])
    for reason, names in reasons.items():
        where = ", ".join(dict.fromkeys(names))
        yield f"{where}: {reason}. The numbers are right, and took longer."


def _settings(
    study: Study, runs: Sequence[OwnRun], records: list[Record], execute: OwnExecutor
) -> dict[str, Any]:
    """What the table is published with."""
    from surgicalft.report.own_model import RULE
    from surgicalft.report.tables import company

    about = company(records, rule=RULE)
    network, data = execute.network, execute.data
    return {
        **{name: value for name, value in about.items() if name not in _VARYING},
        **{name: getattr(study.base, name) for name in ("epochs", "optimizer", "schedule")},
        "seeds": list(dict.fromkeys(run.seed for run in runs)),
        "rates": list(study.learning_rates),
        "last_rates": list(study.last_learning_rates),
        "mean": list(network.scale[0]),
        "std": list(network.scale[1]),
        "size": network.module.size,
        **({"classes": list(data.classes)} if data.classes else {}),
        "n_test": len(data.splits(0).test),
    }
