"""A user's labelled data as target splits: those given, or drawn for each seed from what is given."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgicalft.models.pretrain import fingerprint
from surgicalft.own.arrays import to_labelled
from surgicalft.own.folders import describe_classes, find_splits, read_folders
from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled, Splits


@dataclass(frozen=True)
class OwnData:
    """Labelled images to tune on, to choose by and to report on.

    A part that is not given is drawn from `train`, for each seed anew: of every class `valid_share` or `test_share` of
    its images there, one at least. `classes` are the names of the labels, where these are known.
    """

    train: Labelled
    valid: Labelled | None = None
    test: Labelled | None = None
    valid_share: float = 0.2
    test_share: float = 0.2
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shares = self.drawn
        if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
            raise ValueError(
                f"shares to draw from train must lie between 0 and 1 and leave some of it, not {shares}"
            )
        for name, part in self.given.items():
            if not len(part):
                raise ValueError(f"{name} is empty")
            if part.images.shape[1:] != self.train.images.shape[1:]:
                shapes = {n: tuple(p.images.shape[1:]) for n, p in self.given.items()}
                raise ValueError(f"images must be of one shape (c, h, w), but they are {shapes}")
            if absent := sorted(set(part.labels.tolist()) - set(self.train.labels.tolist())):
                raise ValueError(f"{name} has labels {absent}, of which train has no image")
        if len(self.train.labels.unique()) < 2:
            only = int(self.train.labels[0])
            raise ValueError(f"train must have two classes or more; all its labels are {only}")
        self.splits(0)  # shows now what cannot be drawn

    @property
    def given(self) -> dict[str, Labelled]:
        """The parts that are there."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def drawn(self) -> dict[str, float]:
        """The parts that are drawn from `train`, and which share of it; without any, all seeds have the same splits."""
        shares = {"valid": self.valid_share, "test": self.test_share}
        return {name: share for name, share in shares.items() if name not in self.given}

    @property
    def largest_label(self) -> int:
        return max(int(part.labels.max()) for part in self.given.values())

    def check_labels(self, outputs: int) -> None:
        """ValueError for labels outside 0..outputs - 1."""
        for name, part in self.given.items():
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= outputs:
                raise ValueError(
                    f"{name} labels must lie in 0..{outputs - 1}, the network's outputs; found {low}..{high}. Of other "
                    "classes than the network was trained on: new_head=True gives it a new last layer"
                )

    def splits(self, seed: int) -> Splits:
        """The target splits of that seed."""
        if not self.drawn:
            return Splits(**self._named(self.given))
        index: dict[str, list[Tensor]] = {name: [] for name in ("train", *self.drawn)}
        for label in self.train.labels.unique().tolist():
            own = (self.train.labels == label).nonzero().flatten()
            own = own[torch.randperm(len(own), generator=generator("split", seed, label))]
            parts = own.split(self._counts(label, len(own)))
            for name, part in zip(index, parts, strict=True):
                index[name].append(part)
        found = {name: self.train.take(torch.cat(parts)) for name, parts in index.items()}
        return Splits(**self._named({**self.given, **found}))

    def _named(self, parts: dict[str, Labelled]) -> dict[str, Labelled]:
        return {"tune": parts["train"], "valid": parts["valid"], "test": parts["test"]}

    def _counts(self, label: int, n: int) -> list[int]:
        """How many of the n images of a class are left to tune on, and how many are drawn for each other part."""
        counts = {name: max(1, round(share * n)) for name, share in self.drawn.items()}
        rest = n - sum(counts.values())
        if rest < 1:
            raise ValueError(
                f"train has {n} images of class {label}, too few to draw {counts} from it and leave some to tune on"
            )
        return [rest, *counts.values()]

    def describe(self) -> str:
        """What a table says of where the images came from."""
        counts = ", ".join(f"{len(part):,} {name}" for name, part in self.given.items())
        shape = " x ".join(map(str, self.train.images.shape[1:]))
        drawn = " and ".join(self.drawn)
        note = f"; {drawn} drawn from train for each seed" if drawn else ""
        return f"{counts} images {shape}{note}"

    def describe_classes(self) -> str:
        """The classes in the order of their labels, with counts; empty where they have no names."""
        return describe_classes(self.classes, self.given) if self.classes else ""

    def fingerprint(self) -> str:
        """Names the data: no other data find the runs on these in a store."""
        marks = (f"{name} {fingerprint(part)}" for name, part in self.given.items())
        return "; ".join((*marks, *(f"{name} {share}" for name, share in self.drawn.items())))


def read_data(
    train: Any,
    valid: Any = None,
    test: Any = None,
    *,
    layout: str | None = None,
    size: int | None = None,
    usual_size: int | None = None,
    progress: bool = False,
    **shares: float,
) -> OwnData:
    """Read labelled data, whatever they are held in.

    Parameters
    ----------
    train, valid, test: in any form that `to_labelled` takes, or paths of folders, see `surgicalft.own.folders`. `train`
        alone may be a folder with train, valid and test in it.
    layout: of arrays, see `to_labelled`.
    size, usual_size: of the images in folders, see `read_folders`.
    progress: show how far it came, and one line with the classes that were found, on stderr.
    shares: `valid_share` and `test_share`, see `OwnData`.

    Returns
    -------
    The data, with the names of the classes if they come from folders.

    Raises
    ------
    ValueError for data that do not fit, with what does; UnreadableImages, which is one, with all files concerned.
    """
    parts = {"train": train, "valid": valid, "test": test}
    if isinstance(train, str | Path) and valid is None and test is None:
        parts |= find_splits(Path(train))
    given = {name: part for name, part in parts.items() if part is not None}
    paths = {name: Path(part) for name, part in given.items() if isinstance(part, str | Path)}
    found, classes = read_folders(paths, size, usual_size, progress) if paths else ({}, ())
    labelled = {
        name: found[name] if name in found else to_labelled(part, name, layout)
        for name, part in given.items()
    }
    if classes and progress:
        print(f"surgicalft: {describe_classes(classes, labelled)}", file=sys.stderr)
    return OwnData(**labelled, **shares, classes=classes)  # type: ignore[arg-type]
