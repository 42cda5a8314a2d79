"""Data sets that the `wilds` package reads, taken offline from the data folder; images stay in their files.

wilds' own class reads the publisher's tables and says which row is of which split (Koh et al. 2021, Sagawa et al.
2022). Its download is never used: it checks no sum and, where TLS fails, asks again without.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgicalft.compat import wilds_class
from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import Fit, ImageFiles

BUNDLES = "https://worksheets.codalab.org/rest/bundles"  # where wilds 2.0.0 downloads from


@dataclass(frozen=True)
class WildsData:
    """One of wilds' data sets: its layout, and what its publisher says of it."""

    name: str  # of our scenario and source
    wilds: str  # wilds' name of it
    version: str
    address: str  # of the archive whose content lies in the folder
    size: str  # of the archive
    classes: int
    fit: Fit
    tables: Mapping[str, Sequence[str]]  # the columns that are read, by table
    images: str  # the folder of the images, in the data set's; "" if there is none
    files: Callable[[Any], Sequence[str]]  # from wilds' object: each row's image in the folder
    counts: Mapping[str, Sequence[int]]  # by split: images, or images of each group 2y + attribute
    attribute: str = ""  # the metadata field that makes the groups
    side: tuple[int, int] | None = None  # width and height of every image, if one
    check_tables: Callable[[Path], None] = field(default=lambda folder: None)

    @property
    def folder(self) -> str:
        return f"{self.wilds}_v{self.version}"

    @property
    def needed(self) -> list[str]:
        """What must lie in the folder; wilds takes the first for the sign of a whole copy."""
        images = [self.images] if self.images else []
        return [f"RELEASE_v{self.version}.txt", *self.tables, *images]


@dataclass(frozen=True)
class Opened:
    """A copy in `folder`, as wilds' object knows it; fields of the metadata are taken by name, never by place."""

    data: WildsData
    folder: Path
    known: Any
    files: Sequence[str]  # each row's image

    def rows(self, split: str) -> Tensor:
        """Where the split's images are, (n,)."""
        here = torch.as_tensor(self.known.split_array == self.known.split_dict[split])
        return here.nonzero().flatten()

    def field(self, name: str) -> Tensor:
        """That field of the metadata, of all rows."""
        return self.known.metadata_array[:, self.known.metadata_fields.index(name)]

    def groups(self, rows: Tensor) -> Tensor | None:
        """2 * label + attribute, where the data set has groups."""
        if not self.data.attribute:
            return None
        return (2 * self.known.y_array + self.field(self.data.attribute))[rows]

    def images(self, rows: Tensor) -> ImageFiles:
        return ImageFiles([self.folder / self.files[row] for row in rows.tolist()], self.data.fit)

    def part(self, split: str, among: Tensor | None = None) -> Labelled:
        """A split's images, unread; of those only the ones for which `among` is True, if given."""
        rows = self.rows(split)
        if among is not None:
            rows = rows[among[rows]]
        return Labelled(self.images(rows), self.known.y_array[rows], self.groups(rows))

    def differing(self) -> list[str]:
        """The splits whose numbers of images, or of images of each group, are not the publisher's."""
        out = []
        for split, whole in self.data.counts.items():
            rows = self.rows(split)
            groups = self.groups(rows)
            found = [len(rows)] if groups is None else groups.bincount(minlength=4).tolist()
            if found != list(whole):
                out.append(f"{split} {found} instead of {list(whole)}")
        return out

    @property
    def provenance(self) -> str:
        """The copy's name, and what it holds if not what is published."""
        differing = "; ".join(self.differing())
        return self.data.folder + (f", not as published: {differing}" if differing else "")


def open_wilds(data: WildsData, data_dir: Path | None = None) -> Opened:
    """Reads the tables through wilds' class, and no image.

    Raises FileNotFoundError where something is absent, and ValueError where columns, splits, classes or groups
    are not the data set's.
    """
    folder = _find(data, resolve_data_dir(data_dir))
    for table, columns in data.tables.items():
        _check_columns(folder / table, columns)
    data.check_tables(folder)
    make = wilds_class(data.wilds)
    try:
        known = make(version=data.version, root_dir=str(folder.parent), download=False)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        what = f"unknown value {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"wilds cannot read the tables in {folder}: {what or type(error).__name__}"
        ) from error
    opened = Opened(data, folder, known, data.files(known))
    _check_values(opened)
    return opened


def _find(data: WildsData, root: Path | None) -> Path:
    folder = (root or Path("DATA_FOLDER")) / data.folder
    absent = [name for name in data.needed if root is None or not (folder / name).exists()]
    if not absent:
        return folder
    unfinished = "; archive.tar.gz there is an unfinished download: delete it"
    raise FileNotFoundError(
        f"{data.name}: no {', '.join(f'{data.folder}/{name}' for name in absent)} in "
        f"{root or 'any data folder'}. Get {data.address} ({data.size}; the page: "
        f"https://wilds.stanford.edu/downloads), unpack it into {folder}, and set data_dir or "
        f"SURGICALFT_DATA to {folder.parent}{unfinished if (folder / 'archive.tar.gz').exists() else ''}"
    )


def _check_columns(table: Path, expected: Sequence[str]) -> None:
    with table.open(newline="") as file:
        found = next(csv.reader(file), [])
    missing = [column for column in expected if column not in found]
    if missing:
        raise ValueError(
            f"{table} has no column {', '.join(missing)}; expected {', '.join(expected)}, "
            f"found {', '.join(found)}"
        )


def _check_values(opened: Opened) -> None:
    data, labels = opened.data, opened.known.y_array
    sizes = {split: len(opened.rows(split)) for split in data.counts}
    if not all(sizes.values()):
        raise ValueError(f"{opened.folder}: a split has no images; images per split: {sizes}")
    found, train = labels.unique().tolist(), labels[opened.rows("train")].unique().tolist()
    if not found == train == list(range(data.classes)):
        raise ValueError(
            f"{opened.folder}: the labels must be 0 to {data.classes - 1}, all of them in the training split; "
            f"found {found}, in the training split {train}"
        )
    if data.attribute and (values := opened.field(data.attribute).unique().tolist()) != [0, 1]:
        raise ValueError(f"{opened.folder}: {data.attribute} must be 0 or 1, found {values}")
