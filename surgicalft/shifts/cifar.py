"""CIFAR-10 through three doors, CIFAR-10-C published or made here, and CIFAR-Flip.

Sources: `cifar10` (the official batches or a PNG folder, local or from the publisher), and two local copies
that must not be mistaken for it: `cifar10-jpeg` (lossy) and `cifar10-lossless` (a subset).
Scenarios, for each of these sources S: `S-flip`; `S-c/<corruption>[/severity]`, where the target's images are
S's test images, corrupted by `surgicalft.shifts.corruptions`, except that `cifar10-c` is the published
CIFAR-10-C and `cifar10-c-generated` is ours. Severity is 1 to 5, and 5, the paper's, if not given.
CIFAR-10: Krizhevsky 2009, 170 MB, no licence stated. CIFAR-10-C: Hendrycks and Dietterich 2019, 2.9 GB, CC BY 4.0.
CIFAR-Flip: the paper, 2.1.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.shifts.base import (
    Labelled,
    Scenario,
    Source,
    Target,
    register_scenario,
    register_source,
    split_target,
)
from surgicalft.shifts.cifar_copies import COPIES
from surgicalft.shifts.cifar_files import (
    CIFAR10,
    read_batches,
    read_corrupted,
)
from surgicalft.shifts.corruptions import CORRUPTIONS, corrupt, parse_severity
from surgicalft.shifts.download import fetch
from surgicalft.shifts.image_files import as_tensor
from surgicalft.shifts.image_folder import read_image_folder
from surgicalft.shifts.labels import flip_labels

CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]  # official order
VALID_FRACTION = 0.1
CORRUPTION_SEED = 0


def load_cifar(name: str, data_dir: Path | None = None) -> dict[str, Labelled]:
    """Training and test images of a source, from the first door that opens; kept in memory."""
    return _load(name, resolve_data_dir(data_dir))


@lru_cache(maxsize=2)
def _load(name: str, root: Path | None) -> dict[str, Labelled]:
    copy = COPIES[name]
    if root and name == "cifar10" and (root / CIFAR10.folder).is_dir():
        return read_batches(root)
    for place in (copy.folder, copy.archive):
        if root and (root / place).exists() and _holds(root / place, copy.suffix):
            return read_image_folder(root / place, CLASSES, 32, copy.counts, copy.suffix)
    looked_for = f"{name}: no {copy.folder}/ of {copy.suffix} files, no {copy.archive}"
    if name != "cifar10":
        raise FileNotFoundError(
            f"{looked_for} in {root or 'any data folder'}; set data_dir or SURGICALFT_DATA to the "
            "folder that holds one of them"
        )
    looked_for += f" and no {CIFAR10.folder}/ in {root or 'any data folder'}"
    return read_batches(fetch(CIFAR10.archive, looked_for))


def _holds(place: Path, suffix: str) -> bool:
    """Archives are known by their names; a folder is of the copy whose kind of file it holds."""
    return place.is_file() or next(place.rglob(f"*{suffix}"), None) is not None or _empty(place)


def _empty(place: Path) -> bool:
    return not any(place.iterdir())


def load_source(name: str, data_dir: Path | None = None) -> Source:
    """A tenth of the training images is held out, the same for every seed, to choose the epoch by."""
    parts = load_cifar(name, data_dir)
    train = parts["train"]
    valid = int(VALID_FRACTION * len(train)) // len(CLASSES) * len(CLASSES)
    held_out = split_target(train, 0, valid, seed=0)
    provenance = f"{name}: {COPIES[name].note}"
    return Source(held_out.test, held_out.valid, parts["test"], len(CLASSES), provenance)


def _flip(name: str) -> Scenario:
    def load(data_dir: Path | None) -> Target:
        test = load_cifar(name, data_dir)["test"]
        flipped = replace(test, labels=flip_labels(test.labels, len(CLASSES)))
        return Target(
            flipped, len(CLASSES), f"{name} test images ({COPIES[name].note}), y -> 9 - y"
        )

    return Scenario(f"{name}-flip", "output", name, load)


def _generated(family: str, name: str, corruption: str, *parts: str) -> Scenario:
    severity = parse_severity(*parts)

    def load(data_dir: Path | None) -> Target:
        test = load_cifar(name, data_dir)["test"]
        images = corrupt(as_tensor(test.images), corruption, severity, CORRUPTION_SEED)
        note = f"{name} test images ({COPIES[name].note}), corrupted by surgicalft"
        return Target(Labelled(images, test.labels), len(CLASSES), note)

    return Scenario(f"{family}/{corruption}/{severity}", "input", name, _kept(load))


def _published(corruption: str, *parts: str) -> Scenario:
    severity = parse_severity(*parts)

    def load(data_dir: Path | None) -> Target:
        images, labels = read_corrupted(resolve_data_dir(data_dir), corruption, severity)
        pool = Labelled(torch.from_numpy(images), torch.from_numpy(labels))
        return Target(pool, len(CLASSES), "published CIFAR-10-C")

    return Scenario(f"cifar10-c/{corruption}/{severity}", "input", "cifar10", load)


def _kept(load: Callable[[Path | None], Target]) -> Callable[[Path | None], Target]:
    return lru_cache(maxsize=1)(load)


for _name in COPIES:
    _family = "cifar10-c-generated" if _name == "cifar10" else f"{_name}-c"
    register_source(_name, partial(load_source, _name))
    register_scenario(_family, partial(_generated, _family, _name), CORRUPTIONS)
    register_scenario(f"{_name}-flip", partial(_flip, _name))
register_scenario("cifar10-c", _published, CORRUPTIONS)
