"""The paper's claims on test-time adaptation, put to our records: differences, their errors, and a sentence.

Nothing is asserted here, and nothing chosen by its result: several selections together mean their average.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from surgicalft.report.claims import ERRORS
from surgicalft.report.stream_results import Array, Cell, Estimate, Hits, cells, estimate, minus
from surgicalft.report.stream_rows import UNCHANGED, Row
from surgicalft.sweep.record import Record

EARLY = ("first_layer", "first_2_layers", "block 1")


@dataclass(frozen=True)
class Finding:
    """A difference in points with its standard error, the larger of that of the images and that over seeds."""

    difference: float
    error: float
    sentence: str

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is more than two errors from 0, else 0."""
        clear = abs(self.difference) > ERRORS * self.error  # False where the error is not known
        return int(np.sign(self.difference)) if clear else 0


def compare(
    records: Iterable[Record],
    a: Sequence[str],
    b: Sequence[str],
    mode: str = "online",
    last: int = 0,
) -> Finding:
    """Accuracy of the selections `a` minus that of `b`, averages of each, over the last `last` images (0: all).

    Paired by image and averaged over the scenarios; "none" is no adaptation, whatever the mode.

    Raises ValueError where a selection has no finished runs on a scenario that others have, where scenarios have
    streams of different lengths, where there are several models, and for a `last` beyond the stream.
    """
    runs = _Runs(records, mode)
    parts = {seed: _end(values, last) for seed, values in runs.difference(a, b).items()}
    where = f"{mode}, {_of_stream(last)} {runs.length:,} images, {runs.where}"
    return _finding(estimate(parts), f"{where}: {runs.words(a)}", runs.words(b))


def early_above_all(
    records: Iterable[Record], last: int = 0, early: Sequence[str] = EARLY
) -> Finding:
    """Online, tuning early layers minus tuning all, at the end of the stream or on all of it (`last` = 0).

    Section 2.2: "with full fine-tuning, online MEMO performance deteriorates as the test set size increases", early
    layers mitigate that. `early`: those of these selections that there are, averaged. Raises ValueError as `compare`.
    """
    records = list(records)
    there = {record.settings["selection"] for record in records if _is(record, "online")}
    return compare(records, [s for s in early if s in there] or early, ["all"], last=last)


def last_layer_alone(records: Iterable[Record], mode: str = "online") -> Finding:
    """Adapting the last layer minus no adaptation, over the whole stream: little in the paper (Tables 2 and 3)."""
    return compare(records, ["last"], ["none"], mode)


def wears_off(records: Iterable[Record], part: int, selection: str = "all") -> Finding:
    """Online, the gain over no adaptation on the last `part` images minus that on the first `part` of the stream.

    Below 0 where adaptation deteriorates as the stream goes on. error^2 is the sum of both parts', which share no
    image. Raises ValueError where `part` is not 1 to half the stream, and as `compare`.
    """
    runs = _Runs(records, "online")
    gains = runs.difference([selection], ["none"])
    if not 1 <= part <= runs.length // 2:
        raise ValueError(
            f"part must be 1 to {runs.length // 2}, half of the stream's {runs.length}, not {part}"
        )
    late, soon = (
        {seed: values[where] for seed, values in gains.items()}
        for where in (slice(-part, None), slice(part))
    )
    change = {s: np.array([late[s].mean() - soon[s].mean()]) for s in gains}
    errors = estimate(late).error, estimate(soon).error
    found = estimate(change)
    found = Estimate(found.mean, math.hypot(*errors), found.seed_error)
    where = (
        f"online, {runs.where}: the gain of {runs.words([selection])} on the last {part:,} images"
    )
    return _finding(found, where, f"that on the first {part:,}")


class _Runs:
    """Runs of one model in one mode, each image averaged over the scenarios."""

    def __init__(self, records: Iterable[Record], mode: str) -> None:
        found = [
            cell for cell in cells(records, means=False) if cell.row.mode in (mode, UNCHANGED.mode)
        ]
        models = sorted({cell.model for cell in found})
        if len(models) != 1:
            raise ValueError(
                f"records must be of one model with runs in mode {mode!r}, not {models}"
            )
        self.model, self.mode = models[0], mode
        self.scenarios = list(dict.fromkeys(cell.scenario for cell in found))
        self._cells = {(cell.row, cell.scenario): cell for cell in found}

    @property
    def where(self) -> str:
        count = len(self.scenarios)
        return self.scenarios[0] if count == 1 else f"mean of {count} scenarios"

    def difference(self, a: Sequence[str], b: Sequence[str]) -> Hits:
        """Image by image, of the seeds that both have."""
        found = minus(self.mean(a), self.mean(b))
        if not found:
            raise ValueError(f"{self.words(a)} and {self.words(b)} have no seed in common")
        return found

    def mean(self, selections: Sequence[str]) -> Hits:
        """The average of these selections over the scenarios, image by image."""
        own = [self._cell(name, where) for name in selections for where in self.scenarios]
        seeds = sorted(set.intersection(*(set(cell.hits) for cell in own)))
        lengths = {len(values) for cell in own for values in cell.hits.values()}
        if not seeds or len(lengths) > 1:
            raise ValueError(
                f"{self.words(selections)}, {self.where}: seeds that finished everywhere {seeds}, "
                f"streams of {sorted(lengths)} images; needed is one length, and one seed at least"
            )
        self.length = lengths.pop()
        return {seed: np.mean([cell.hits[seed] for cell in own], axis=0) for seed in seeds}

    def words(self, selections: Sequence[str]) -> str:
        """`the mean of Layer 1 and Block 1-2`."""
        names = [self._row(name).label(self.model) for name in selections]
        joined = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        return f"the mean of {joined}" if len(names) > 1 else joined

    def _row(self, selection: str) -> Row:
        return UNCHANGED if selection == "none" else Row(self.mode, UNCHANGED.method, selection)

    def _cell(self, selection: str, scenario: str) -> Cell:
        try:
            return self._cells[self._row(selection), scenario]
        except KeyError:
            legal = sorted({row.selection for row, where in self._cells if where == scenario})
            raise ValueError(
                f"selection must be one of {legal} ({self.mode}, {scenario}), not {selection!r}"
            ) from None


def _is(record: Record, mode: str) -> bool:
    return bool(record.settings["mode"] == mode)


def _end(values: Array, last: int) -> Array:
    if not 0 <= last <= len(values):
        raise ValueError(
            f"last must be 0 (all) to {len(values)}, the length of the stream, not {last}"
        )
    return values[-last:] if last else values


def _of_stream(last: int) -> str:
    return f"the last {last:,} of" if last else "all"


def _finding(found: Estimate, ours: str, other: str) -> Finding:
    """`A is 2.0 ± 0.5 points above B`."""
    finding = Finding(found.mean, found.larger, "")
    error = "" if math.isnan(finding.error) else f" ± {finding.error:.1f}"
    if not finding.sign:
        text = f"{ours} is level with {other} ({found.mean:+.1f}{error} points)"
    else:
        side = "above" if finding.sign > 0 else "below"
        text = f"{ours} is {abs(found.mean):.1f}{error} points {side} {other}"
    return Finding(finding.difference, finding.error, text)
