"""The publishers' files of CIFAR-10 and CIFAR-10-C, read and checked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from surgicalft.paths import cache_dir
from surgicalft.shifts.archives import unpack
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.download import Archive, fetch


@dataclass(frozen=True)
class Release:
    """A data set's folder in its publisher's layout, and the archive that holds it."""

    folder: str
    archive: Archive


CIFAR10 = Release(
    "cifar-10-batches-py",
    Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "md5:c58f30108f718f92721af3b95e74349a",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "170 MB",
    ),
)
CIFAR10_C = Release(
    "CIFAR-10-C",
    Archive(
        "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar",
        "md5:56bf5dcef84df0e2308c6dcbcbbd8499",
        "https://zenodo.org/records/2535967",
        "2.9 GB",
    ),
)
IMAGES = 10_000  # per severity


def read_batches(place: Path) -> dict[str, Labelled]:
    """The official batches through torchvision, which checks the sum of each before unpickling it.

    `place` holds cifar-10-batches-py/, or is the official archive, which is then unpacked in the cache.
    """
    from torchvision import datasets  # takes seconds to import, and few need it

    root = _unpacked(place) if place.is_file() else place
    parts = {}
    for split in ("train", "test"):
        try:
            data = datasets.CIFAR10(str(root), train=split == "train")
        except RuntimeError as error:
            raise ValueError(
                f"{root / CIFAR10.folder} is incomplete or altered: {error}"
            ) from error
        images = torch.from_numpy(data.data.transpose(0, 3, 1, 2).copy())
        parts[split] = Labelled(images, torch.tensor(data.targets))
    return parts


def _unpacked(archive: Path) -> Path:
    return unpack(archive, cache_dir("unpacked") / archive.name)


def read_corrupted(
    root: Path | None, corruption: str, severity: int, count: int = IMAGES
) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, 3, 32, 32) uint8 and labels (count,) int64 of one corruption and severity.

    The files hold `count` images for each severity, in order, as (5 * count, 32, 32, 3). Both are checked
    against that shape; a file that is cut short or holds something else is refused (ValueError).
    """
    folder = _corrupted_folder(root)
    images = _array(folder / f"{corruption}.npy", (5 * count, 32, 32, 3))
    labels = _array(folder / "labels.npy", (5 * count,))
    part = slice((severity - 1) * count, severity * count)
    chosen = np.ascontiguousarray(images[part].transpose(0, 3, 1, 2))
    return chosen, labels[part].astype(np.int64)


def _corrupted_folder(root: Path | None) -> Path:
    if root and (root / CIFAR10_C.folder).is_dir():
        return root / CIFAR10_C.folder
    looked_for = f"cifar10-c: no {CIFAR10_C.folder}/ in {root or 'any data folder'}"
    return _unpacked(fetch(CIFAR10_C.archive, looked_for)) / CIFAR10_C.folder


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A memory-mapped .npy file of that shape; FileNotFoundError or ValueError where it is not."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; CIFAR-10-C has one .npy per corruption")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is truncated or not a .npy file: {error}") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, expected uint8 {shape}")
    return array
