"""Work-arounds for third-party packages, each with its reason; tests/test_compat.py says which are still needed.

Two more are no code. pandas stays below 3 (pyproject.toml): wilds' CelebA writes into `DataFrame.values`, which
pandas 3 makes read-only. wilds' `eval` is never called: it needs `torch_scatter`, which wilds does not declare and
which is hard to build, it gives an empty group the accuracy 0, and its `CombinatorialGrouper` names groups wrongly
where the fields are not in the metadata's order; `surgicalft.shifts.groups` computes what is needed.
"""

import csv
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

WILDS_CLASSES = {
    "camelyon17": "Camelyon17Dataset",
    "celebA": "CelebADataset",
    "fmow": "FMoWDataset",
    "waterbirds": "WaterbirdsDataset",
}
_lock = threading.RLock()  # what the imports change for a while belongs to the whole program


def import_robustbench() -> ModuleType:
    """`import robustbench`, which needs the extra `robustbench`.

    robustbench 1.1.1 imports `autoattack`, but its dependency installs the same code as `pyautoattack`. The
    alias makes the import work, for models and data; not the attacks, whose signatures differ.
    """
    try:
        attacks = importlib.import_module("pyautoattack")
        state = importlib.import_module("pyautoattack.state")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "robustbench is not installed: pip install 'surgicalft[robustbench]'", name=error.name
        ) from error
    with _modules({"autoattack": attacks, "autoattack.state": state}):
        return importlib.import_module("robustbench")


def import_wilds() -> ModuleType:
    """`import wilds` without its threads.

    wilds 2.0.0 asks the network for a newer version of itself, in a thread that is no daemon and has no
    time-out, so that a program without a network hangs at its end. It doesn't where `outdated` is missing.
    """
    with _modules({"outdated": None}):
        return importlib.import_module("wilds")


def wilds_class(name: str) -> Any:
    """The class of one of wilds' data sets, by wilds' own name: a key of WILDS_CLASSES.

    Importing FMoW's module lifts Pillow's limit against decompression bombs for the whole program; it is put
    back. FMoW's timestamps come with and without fractions of a second, which pandas >= 2 refuses unless told
    that all are ISO 8601 (p-lambda/wilds issue 146): in that module, and nowhere else, it is told.
    """
    if name not in WILDS_CLASSES:
        raise ValueError(f"unknown wilds data set {name!r}; legal: {', '.join(WILDS_CLASSES)}")
    from PIL import Image

    with _lock:
        import_wilds()
        limit = Image.MAX_IMAGE_PIXELS
        try:
            module = importlib.import_module(f"wilds.datasets.{name}_dataset")
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if name == "fmow":
        import pandas

        to_datetime = partial(pandas.to_datetime, format="ISO8601")
        vars(module)["pd"] = SimpleNamespace(**{**vars(pandas), "to_datetime": to_datetime})
    return getattr(module, WILDS_CLASSES[name])


def check_celeba_tables(folder: Path) -> None:
    """ValueError, with the first row, where CelebA's tables of attributes and of splits list other files.

    wilds takes both by position: a table in another order would give images the split of others.
    """
    tables = [
        _first_column(folder / name) for name in ("list_attr_celeba.csv", "list_eval_partition.csv")
    ]
    for row, (image, other) in enumerate(zip_longest(*tables), start=1):
        if image != other:
            raise ValueError(
                f"{folder}: row {row} is {image!r} in list_attr_celeba.csv, but {other!r} in "
                "list_eval_partition.csv; both tables must list the same images in the same order"
            )


def _first_column(table: Path) -> Iterator[str]:
    with table.open(newline="") as file:
        rows = csv.reader(file)
        place = next(rows).index("image_id")
        yield from (row[place] for row in rows)


@contextmanager
def _modules(entries: dict[str, ModuleType | None]) -> Iterator[None]:
    """These entries in `sys.modules` for a while; None makes an import fail."""
    with _lock:
        before = {name: sys.modules[name] for name in entries if name in sys.modules}
        sys.modules.update(entries)  # type: ignore[arg-type]
        try:
            yield
        finally:
            for name in entries:
                sys.modules.pop(name)
            sys.modules.update(before)
