"""The data sets that scenarios are made of: what they are, where they are looked for, how to get them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surgicalft.paths import cache_dir
from surgicalft.shifts.download import Archive


@dataclass(frozen=True)
class DataSet:
    """A data set as its publisher describes it.

    `places` are the names looked for in the data folder, any of which will do; `check` reads the data folder's
    copy and returns what it verified, a fact a line (counts, shapes, sums), or raises FileNotFoundError or
    ValueError. `scenarios` are the families made of it.
    """

    name: str
    scenarios: tuple[str, ...]
    licence: str
    size: str  # of the download
    publisher: str  # whose it is, and the page to get it from
    layout: str  # what lies in the folder, in one line
    places: tuple[str, ...]  # () where nothing has to be got
    check: Callable[[Path | None], list[str]]
    archive: Archive | None = None  # where we can download it ourselves

    def found(self, root: Path | None) -> Path | None:
        """The first of the places that exists in the data folder, or what was downloaded."""
        places = [root / place for place in self.places] if root else []
        places += [cache_dir("downloads") / self.archive.file] if self.archive else []
        return next((place for place in places if place.exists()), None)


_data_sets: dict[str, DataSet] = {}


def register_data_set(data_set: DataSet) -> None:
    """Adds it to those that `surgicalft data` lists."""
    _data_sets[data_set.name] = data_set


def data_sets() -> list[DataSet]:
    """Every registered data set, in order of registration."""
    return list(_data_sets.values())


def get_data_set(name: str) -> DataSet:
    """The data set of that name; ValueError with the legal names where there is none."""
    if name not in _data_sets:
        raise ValueError(f"unknown data set {name!r}; legal: {', '.join(_data_sets)}")
    return _data_sets[name]


def catalogue_table() -> str:
    """The catalogue as docs/DATA.md shows it, a row per data set."""
    head = ("data set", "scenarios", "licence", "size", "publisher", "layout in the data folder")
    rows = [head, ("---",) * len(head)]
    for it in data_sets():
        scenarios = ", ".join(f"`{name}`" for name in it.scenarios)
        rows.append((it.name, scenarios, it.licence, it.size, it.publisher, f"`{it.layout}`"))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
