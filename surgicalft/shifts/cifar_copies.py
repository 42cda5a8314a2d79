"""Copies of CIFAR-10 that are read, and what the catalogue says of CIFAR-10 and CIFAR-10-C."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.shifts.catalogue import DataSet, register_data_set
from surgicalft.shifts.cifar_files import CIFAR10, CIFAR10_C, read_corrupted
from surgicalft.shifts.corruptions import CORRUPTIONS, SEVERITIES


@dataclass(frozen=True)
class Copy:
    """A copy of CIFAR-10 as an image folder: where it is, what it must hold, and what it is."""

    folder: str
    archive: str
    suffix: str
    counts: dict[str, int]
    note: str


COPIES = {
    "cifar10": Copy(
        "cifar10", "cifar10.tgz", ".png", {"train": 50_000, "test": 10_000}, "exact pixels"
    ),
    "cifar10-jpeg": Copy(
        "cifar10",
        "cifar10-jpeg.tar.xz",
        ".jpg",
        {"train": 50_000, "test": 10_000},
        "JPEG-compressed copy",
    ),
    "cifar10-lossless": Copy(
        "cifar10-lossless",
        "cifar10-lossless-png.tar.xz",
        ".png",
        {"train": 5_085, "test": 500},
        "subset, exact pixels",
    ),
}


def _check_images(name: str) -> Callable[[Path | None], list[str]]:
    def check(root: Path | None) -> list[str]:
        from surgicalft.shifts.cifar import load_cifar  # which imports this module

        return [
            f"{part}: {len(data):,} images {tuple(data.images.shape[1:])}"
            for part, data in load_cifar(name, root).items()
        ]

    return check


def _check_corrupted(root: Path | None) -> list[str]:
    """Shapes of all files, which are memory-mapped; their sums take minutes and are not checked."""
    place = resolve_data_dir(root)
    for corruption in CORRUPTIONS:
        for severity in SEVERITIES:
            read_corrupted(place, corruption, severity)
    return [f"{len(CORRUPTIONS)} corruptions of 5 x 10,000 images (3, 32, 32)"]


ALEX = "Alex Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html"
OFFICIAL = ("cifar10-flip", "cifar10-clean", "cifar10-c-generated", "cifar10-c")

register_data_set(
    DataSet(
        "cifar10",
        OFFICIAL,
        "none stated",
        CIFAR10.archive.size,
        ALEX,
        "cifar-10-batches-py/ as published, or cifar10/{train,test}/<class>/*.png",
        (CIFAR10.folder, "cifar10", "cifar10.tgz"),
        _check_images("cifar10"),
        CIFAR10.archive,
    )
)
register_data_set(
    DataSet(
        "cifar10-c",
        ("cifar10-c",),
        "CC BY 4.0",
        CIFAR10_C.archive.size,
        f"Hendrycks and Dietterich, {CIFAR10_C.archive.page}",
        "CIFAR-10-C/<corruption>.npy and labels.npy",
        (CIFAR10_C.folder,),
        _check_corrupted,
        CIFAR10_C.archive,
    )
)
for _name, _size in (("cifar10-jpeg", "19 MB"), ("cifar10-lossless", "12 MB")):
    _copy = COPIES[_name]
    register_data_set(
        DataSet(
            _name,
            (f"{_name}-c", f"{_name}-flip", f"{_name}-clean"),
            "as CIFAR-10's: none stated",
            _size,
            f"{ALEX}, and whoever made the copy",
            f"{_copy.folder}/{{train,test}}/<class>/*{_copy.suffix}, or {_copy.archive}",
            (_copy.folder, _copy.archive),
            _check_images(_name),
        )
    )
