"""What a shift is: labelled images of a source and of a target, and how the target is split.

A *source* is a data set that a network is pre-trained on; a *scenario* is a target that differs from it
in one respect (its shift kind). Both are registered under a family name; a scenario's full name may carry
options behind a slash: `glyphs-c/fog`, `cifar10-c/fog/3`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from surgicalft.seeds import generator
from surgicalft.shifts.image_files import LazyImages

KINDS = ("input", "feature", "output", "natural", "none")
TEST_RULES = ("rest", "authors")
AUTHORS_TEST_PER_CLASS = 90


@dataclass(frozen=True)
class Labelled:
    """Images (n, c, h, w) uint8, labels (n,) int64 and, where the data have them, groups (n,) int64.

    Images that are too many to hold are `LazyImages`: `take` does not read them, indexing does.
    """

    images: Tensor | LazyImages
    labels: Tensor
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ValueError(
                "images must be uint8 of shape (n, c, h, w), "
                f"not {self.images.dtype} {tuple(self.images.shape)}"
            )
        for name in ("labels", "groups"):
            value = getattr(self, name)
            if value is not None and (value.shape != (n,) or value.dtype != torch.int64):
                raise ValueError(
                    f"{name} must be int64 of shape ({n},), not {value.dtype} {tuple(value.shape)}"
                )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> "Labelled":
        groups = None if self.groups is None else self.groups[index]
        images = self.images
        some = images.view(index) if isinstance(images, LazyImages) else images[index]
        return Labelled(some, self.labels[index], groups)


@dataclass(frozen=True)
class Source:
    """What a network is pre-trained on; `provenance` says where the images came from."""

    train: Labelled
    valid: Labelled
    test: Labelled
    classes: int
    provenance: str


@dataclass(frozen=True)
class Target:
    """All target images there are, before the split, and where they came from.

    `test` is given where the data set's publisher keeps images apart to report on; `pool` is then for tuning
    and validation alone. `sparse` says that a class may have fewer images than are asked of it.
    """

    pool: Labelled
    classes: int
    provenance: str
    test: Labelled | None = None
    sparse: bool = False


@dataclass(frozen=True)
class Splits:
    """Target images to tune on, to choose by, and to report on; disjoint."""

    tune: Labelled
    valid: Labelled
    test: Labelled


@dataclass(frozen=True)
class Scenario:
    """One shift: its name, its kind, the source it departs from, and how to load the target."""

    name: str
    kind: str
    source: str
    load: Callable[[Path | None], Target]


def split_target(
    pool: Labelled,
    tune: int,
    valid: int,
    seed: int,
    test: str = "rest",
    classes: int | None = None,
    apart: Labelled | None = None,
    sparse: bool = False,
) -> Splits:
    """Split at random within each class (within each group, where the data have groups).

    Each class gives tune/classes images to tune on and valid/classes to choose by; `test="rest"` reports
    on all that remain, "authors" on 90 per class, as the paper's code does, and on `apart` where that is
    given. For one seed the validation images are the same and the tuning images nested whatever `tune` is,
    so curves over `tune` are paired. `sparse`: a class with too few images gives those it has, to tune first.
    The classes are those of the labels; `classes`, where it is stated, must be their number: 0..classes - 1 are the
    labels, of which a sparse pool may lack some.

    Raises ValueError where `classes` does not fit the labels, a class has too few images or a count does not divide
    evenly.
    """
    if test not in TEST_RULES:
        raise ValueError(f"test must be one of {TEST_RULES}, not {test!r}")
    labels = _labels(pool, classes, sparse)
    strata = pool.labels if pool.groups is None else pool.groups
    values = labels if pool.groups is None else strata.unique().tolist()
    what = "classes" if pool.groups is None else "groups"
    for name, count in {"tune": tune, "valid": valid}.items():
        if count < 0 or count % len(values):
            raise ValueError(f"{name}={count} is not a multiple of the {len(values)} {what}")
    n, v = tune // len(values), valid // len(values)
    t = AUTHORS_TEST_PER_CLASS if test == "authors" else 1
    t = 0 if apart is not None or sparse else t
    parts: dict[str, list[Tensor]] = {"tune": [], "valid": [], "test": []}
    for value in values:
        index = (strata == value).nonzero().flatten()
        if len(index) < n + v + t and not sparse:
            raise ValueError(
                f"class {value} has {len(index)} target images, fewer than the {n + v + t} asked for "
                f"({n} to tune, {v} to validate, {t} or more to test)"
            )
        index = index[torch.randperm(len(index), generator=generator("split", seed, value))]
        stop = max(len(index) - v, min(n, len(index)))
        parts["valid"].append(index[stop:])
        parts["tune"].append(index[:n])
        parts["test"].append(index[stop - t : stop] if test == "authors" else index[n:stop])
    splits = Splits(**{name: pool.take(torch.cat(index)) for name, index in parts.items()})
    return splits if apart is None else replace(splits, test=apart)


def _labels(pool: Labelled, classes: int | None, sparse: bool) -> list[int]:
    """The labels of all classes, in order; ValueError where they are not those that `classes` says."""
    found = pool.labels.unique().tolist()
    if not found:
        raise ValueError("there are no images to split")
    if classes is None:
        return found
    stated = list(range(classes))
    if set(found) - set(stated) or (found != stated and not sparse):
        raise ValueError(
            f"classes={classes} does not fit the {len(found)} labels found: {_shown(found)}"
        )
    return stated


def _shown(labels: list[int]) -> str:
    """All of them, or the first and the last of many."""
    if len(labels) <= 20:
        return ", ".join(map(str, labels))
    return f"{', '.join(map(str, labels[:10]))}, ..., {labels[-1]}"


ScenarioFamily = Callable[..., Scenario]
_scenarios: dict[str, tuple[ScenarioFamily, tuple[str, ...]]] = {}
_sources: dict[str, Callable[[Path | None], Source]] = {}


def register_scenario(family: str, make: ScenarioFamily, options: Sequence[str] = ()) -> None:
    """`make(*parts)` builds the scenario `family/part/...`; `options` are the legal first parts."""
    _scenarios[family] = (make, tuple(options))


def register_source(name: str, load: Callable[[Path | None], Source]) -> None:
    """`load(data_dir)` gives the source data set of that name."""
    _sources[name] = load


def scenario_names() -> list[str]:
    """Every registered scenario, in order of registration."""
    names = []
    for family, (_, options) in _scenarios.items():
        names += [f"{family}/{option}" for option in options] or [family]
    return names


def families() -> list[str]:
    """Every registered family of scenarios, in order of registration."""
    return list(_scenarios)


def get_scenario(name: str) -> Scenario:
    """The scenario of that name; ValueError with the legal names where there is none."""
    family, *parts = name.split("/")
    if family not in _scenarios:
        raise ValueError(f"unknown scenario {name!r}; families: {', '.join(sorted(_scenarios))}")
    make, options = _scenarios[family]
    if options and (not parts or parts[0] not in options):
        legal = ", ".join(f"{family}/{option}" for option in options)
        raise ValueError(f"unknown scenario {name!r}; legal: {legal}")
    if not options and parts:
        raise ValueError(f"scenario {family!r} takes no options, but was asked for {name!r}")
    return make(*parts)


def load_source(name: str, data_dir: Path | None = None) -> Source:
    """The source data set of that name; ValueError with the legal names where there is none."""
    if name not in _sources:
        raise ValueError(f"unknown source {name!r}; legal: {', '.join(sorted(_sources))}")
    return _sources[name](data_dir)
