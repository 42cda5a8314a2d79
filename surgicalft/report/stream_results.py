"""Records of test-time runs, image by image: accuracies, and differences between runs paired by image.

Runs that are compared see the same images in the same order, so a difference is a mean over images of differences,
whose standard error is sd / sqrt(n): smaller than that of two accuracies on different images.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surgicalft.report.stream_rows import Row, family, in_order
from surgicalft.sweep.record import Record

Array = npt.NDArray[np.float64]
Hits = dict[
    int, Array
]  # by seed: of each image 100 where it was predicted right, 0 where not; (n,)
STREAM = ("skip", "n_images", "per_class", "without")  # settings that say which images there are
CHOSEN = ("learning_rate", "steps", "weight_decay", "optimizer")  # on images kept apart


@dataclass(frozen=True)
class Estimate:
    """A mean in percent or points; NaN where it is not known.

    `error`: what the finite number of images gives one seed, sd / sqrt(n). `seed_error`: sd / sqrt(seeds) over
    seeds, ddof = 1; NaN of one.
    """

    mean: float = math.nan
    error: float = math.nan
    seed_error: float = math.nan

    @property
    def larger(self) -> float:
        """The larger of the two errors that is known."""
        return float(np.fmax(self.error, self.seed_error))


@dataclass(frozen=True)
class Cell:
    """The runs of a row on a scenario, or the mean over the scenarios of a family."""

    model: str
    row: Row
    scenario: str
    hits: Hits
    records: tuple[Record, ...]  # failed ones too
    scenarios: tuple[str, ...]  # of a mean those that any row of the model has

    @property
    def finished(self) -> list[Record]:
        """The records that are counted."""
        return [record for record in self.records if record.status == "finished"]


def estimate(hits: Mapping[int, Array], ddof: int = 1) -> Estimate:
    """The mean over seeds of the means over images, with its errors; ddof = 0 is the binomial error of an accuracy."""
    if not hits:
        return Estimate()
    means = np.array([values.mean() for values in hits.values()])
    variances = [_variance_of_mean(values, ddof) for values in hits.values()]
    over_seeds = float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.nan
    return Estimate(float(means.mean()), math.sqrt(np.mean(variances)), over_seeds)


def accuracy(cell: Cell) -> Estimate:
    """Of one scenario with the binomial error, of a family with that of the images' means over its scenarios."""
    return estimate(cell.hits, ddof=1 if len(cell.scenarios) > 1 else 0)


def minus(a: Hits, b: Hits) -> Hits:
    """Differences of images (n,), of the seeds that both have, in points.

    Raises ValueError where the two have different numbers of images.
    """
    for seed in a.keys() & b.keys():
        if len(a[seed]) != len(b[seed]):
            raise ValueError(
                f"streams of {len(a[seed])} and {len(b[seed])} images (seed {seed}) can't be paired"
            )
    return {seed: values - b[seed] for seed, values in a.items() if seed in b}


def cells(records: Iterable[Record], means: bool = True) -> list[Cell]:
    """Records by model, row and scenario; with `means`, the mean over each family of two scenarios or more too.

    A seed without one of the family's scenarios takes no part in the mean. Raises ValueError where there is no
    record, where a record does not tell of its images, where runs of one row and scenario differ in more than the
    seed, and where those of one scenario see different images.
    """
    groups: dict[tuple[str, Row, str], list[Record]] = defaultdict(list)
    known = {record.id: record for record in records}.values()
    if not known:
        raise ValueError("no records of test-time runs, so nothing to show")
    for record in known:
        settings = record.settings
        groups[settings["model"], Row.of(settings), settings["scenario"]].append(record)
    _check_streams(known)
    found = [Cell(*key, _by_seed(own), tuple(own), (key[2],)) for key, own in groups.items()]
    return found + (_means(found) if means else [])


def images(record: Record) -> Array:
    """Of each image, in the stream's order, 100 where it was predicted right and 0 where not; (n,)."""
    text = "".join(window.get("correct", "") for window in record.history)
    if not text or len(text) != record.n_test or set(text) - {"0", "1"}:
        raise ValueError(
            f"record {record.id} tells of {len(text)} images by '0' and '1', of {record.n_test} that it has"
        )
    return 100.0 * np.array([mark == "1" for mark in text])


def differing(records: Sequence[Record], free: Iterable[str] = ()) -> dict[str, list[str]]:
    """The settings in which records differ, with their values, but for `free` ones."""
    names = dict.fromkeys(name for record in records for name in record.settings)
    values = {
        name: sorted({json.dumps(r.settings.get(name), sort_keys=True) for r in records})
        for name in names
        if name not in set(free)
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def _by_seed(records: Sequence[Record]) -> Hits:
    """One finished run per seed; of no adaptation, any one: nothing but the images matters to it."""
    settings = records[0].settings
    where = f"{settings['scenario']}, {Row.of(settings).name(settings['model'])}"
    if settings["selection"] != "none" and (mixed := differing(records, ("seed", *STREAM))):
        raise ValueError(f"records of {where} differ in {mixed}; keep one value of each")
    hits: Hits = {}
    for record in sorted(records, key=lambda r: int(r.settings["seed"])):
        seed = record.settings["seed"]
        if record.status == "finished":
            own = images(record)
            if seed in hits and not np.array_equal(own, hits[seed]):
                raise ValueError(f"seed {seed} is there twice with different results: {where}")
            hits[seed] = own
    return hits


def _check_streams(records: Iterable[Record]) -> None:
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.settings["model"], record.settings["scenario"]].append(record)
    for (_, scenario), own in groups.items():
        mixed = {n: values for n, values in differing(own).items() if n in STREAM}
        if mixed:
            raise ValueError(
                f"records of {scenario} are of different images, {mixed}; keep one value of each"
            )


def _means(found: Sequence[Cell]) -> list[Cell]:
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    groups: dict[tuple[str, Row, str], list[Cell]] = defaultdict(list)
    for cell in found:
        if (name := family(cell.scenario)) is not None:
            wanted[cell.model, name].add(cell.scenario)
            groups[cell.model, cell.row, name].append(cell)
    means = []
    for (model, row, name), own in groups.items():
        scenarios = tuple(in_order(wanted[model, name]))
        if len(scenarios) > 1:
            records = tuple(record for cell in own for record in cell.records)
            hits = _mean_hits(own, name) if len(own) == len(scenarios) else {}
            means.append(Cell(model, row, name, hits, records, scenarios))
    return means


def _mean_hits(own: Sequence[Cell], name: str) -> Hits:
    """Each image's mean over the scenarios, of the seeds that have them all."""
    seeds = sorted(set.intersection(*(set(cell.hits) for cell in own)))
    for seed in seeds:
        lengths = {cell.scenario: len(cell.hits[seed]) for cell in own}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the streams of {name} are not of one length: {lengths}")
    return {seed: np.mean([cell.hits[seed] for cell in own], axis=0) for seed in seeds}


def _variance_of_mean(values: Array, ddof: int) -> float:
    return float(values.var(ddof=ddof)) / len(values) if len(values) > ddof else math.nan
