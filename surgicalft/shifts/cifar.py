"""CIFAR-10 through three doors, CIFAR-10-C and CIFAR-Flip."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.shifts.base import Labelled, Source, register_source, split_target
from surgicalft.shifts.image_folder import read_image_folder

CLASSES = (
    "airplane automobile bird cat deer dog frog horse ship truck".split()  # the official order
)
VALID_FRACTION = 0.1


@dataclass(frozen=True)
class ImageFolderCopy:
    """A copy of CIFAR-10 as an image folder: its archive's name and how many images it must hold."""

    name: str
    archive: str
    folder: str
    train: int
    test: int
    note: str


COPIES = {
    copy.name: copy
    for copy in (
        ImageFolderCopy(
            "cifar10-jpeg", "cifar10-jpeg.tar.xz", "cifar10", 50_000, 10_000, "JPEG-compressed"
        ),
        ImageFolderCopy(
            "cifar10-lossless",
            "cifar10-lossless-png.tar.xz",
            "cifar10-lossless",
            5_085,
            500,
            "exact pixels, a subset",
        ),
    )
}


@lru_cache(maxsize=2)
def read_copy(name: str, data_dir: Path | None) -> dict[str, Labelled]:
    copy = COPIES[name]
    root = resolve_data_dir(data_dir)
    places = [root / copy.folder, root / copy.archive] if root else []
    for place in places:
        if place.exists():
            counts = {"train": copy.train, "test": copy.test}
            return read_image_folder(place, CLASSES, 32, counts)
    raise FileNotFoundError(
        f"{name}: looked for {copy.folder}/ or {copy.archive} in {root or 'no data folder'}; "
        "set data_dir or SURGICALFT_DATA to the folder that holds one of them"
    )


def load_copy_source(name: str, data_dir: Path | None) -> Source:
    parts = read_copy(name, data_dir)
    return as_source(parts["train"], parts["test"], f"local {name} ({COPIES[name].note})")


def as_source(train: Labelled, test: Labelled, provenance: str) -> Source:
    """Hold out a tenth of the training images, the same for every seed, to choose the epoch by."""
    valid = int(VALID_FRACTION * len(train)) // len(CLASSES) * len(CLASSES)
    parts = split_target(train, 0, valid, seed=0)
    return Source(parts.test, parts.valid, test, len(CLASSES), provenance)


for _name in COPIES:
    register_source(_name, lambda folder, name=_name: load_copy_source(name, folder))
