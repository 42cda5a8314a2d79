"""Images that stay in their files until they are asked for.

`ImageFiles` stands where a tensor of images (n, 3, s, s) would not fit or is not needed whole: it has a shape and a
length, takes part in splits by `view`, and gives tensors when indexed. `keep` decodes once what is read again
and again, into memory or, where that is too small, into a memory-mapped file of the cache folder.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from surgicalft.shifts.pixels import check_pixels, open_image, to_rgb

THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes without the interpreter's lock


class UnreadableImages(ValueError):
    """Image files that cannot be decoded; `files` maps each to the reason."""

    SHOWN = 50  # names in the message

    def __init__(self, files: dict[Path, str], of: int) -> None:
        shown = "; ".join(f"{file} ({why})" for file, why in list(files.items())[: self.SHOWN])
        more = f" and {len(files) - self.SHOWN} more" if len(files) > self.SHOWN else ""
        super().__init__(f"{len(files)} of {of} images cannot be read: {shown}{more}")
        self.files = files


def reason(error: Exception) -> str:
    """Why an image cannot be read, as `UnreadableImages` has it."""
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Fit:
    """An image of any size -> (3, size, size): crop the centre to `before` pixels, resize, crop the centre.

    `resize` is the length of the shorter side, or of both where `squash` ignores the aspect ratio; 0 stands for
    `size`, and `before=0` for no first crop. To the pixel as torchvision's `Resize` and `CenterCrop`, bilinear.
    `upright` turns images as their EXIF data say; publishers' data sets are read without, as their publishers do.
    """

    size: int
    resize: int = 0
    squash: bool = False
    before: int = 0
    upright: bool = False

    def __call__(self, image: Image.Image) -> np.ndarray:
        """uint8 (3, size, size); ValueError for what cannot be converted, see `surgicalft.shifts.pixels`."""
        image = to_rgb(image, self.upright)
        if self.before:
            image = _centre(image, self.before)
        target = self.resize or self.size
        short = min(image.size)
        sides = [target if self.squash else target * side // short for side in image.size]
        if image.size != tuple(sides):
            check_pixels(*sides)  # a strip of 1 x 100,000 pixels may become larger than memory
            image = image.resize(sides, Image.Resampling.BILINEAR)
        return np.asarray(_centre(image, self.size)).transpose(2, 0, 1)


def _centre(image: Image.Image, side: int) -> Image.Image:
    left, top = (round((n - side) / 2) for n in image.size)
    return image.crop((left, top, left + side, top + side))


@dataclass(frozen=True)
class Change:
    """What is done to decoded images: `apply(images (k, 3, s, s) uint8, numbers (k,) int64)`, and its name.

    `numbers` are the images' places in the full list of files, whatever part of it is looked at.
    """

    name: str
    apply: Callable[[Tensor, Tensor], Tensor]


class LazyImages(ABC):
    """Rows `index` of images (N, 3, s, s) uint8 that are read on demand; stands for the tensor (n, 3, s, s)."""

    dtype, ndim = torch.uint8, 4
    index: Tensor

    @property
    @abstractmethod
    def size(self) -> int:
        """The side s."""

    @abstractmethod
    def read(self, rows: Tensor) -> Tensor:
        """Rows of the whole, (k,) int64 -> uint8 (k, 3, s, s)."""

    @abstractmethod
    def view(self, index: Tensor) -> "LazyImages":
        """These rows (of this view), still unread."""

    @abstractmethod
    def contents(self) -> bytes:
        """What tells these images from others, without reading them."""

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), 3, self.size, self.size))

    @property
    def nbytes(self) -> int:
        return self.shape.numel()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.read(self.index[index])

    def split(self, size: int) -> "list[LazyImages]":
        """Views of `size` rows in turn, unread."""
        return [self.view(part) for part in torch.arange(len(self)).split(size)]


class ImageFiles(LazyImages):
    """The images in `files`, each made (3, fit.size, fit.size) by `fit`, then changed by `change` if given."""

    def __init__(
        self,
        files: Sequence[Path],
        fit: Fit,
        change: Change | None = None,
        index: Tensor | None = None,
    ) -> None:
        self.files, self.fit, self.change = files, fit, change
        self.index = torch.arange(len(files)) if index is None else index

    @property
    def size(self) -> int:
        return self.fit.size

    def file(self, place: int) -> Path:
        """The file of the image at that place."""
        return self.files[int(self.index[place])]

    def view(self, index: Tensor) -> "ImageFiles":
        return ImageFiles(self.files, self.fit, self.change, self.index[index])

    def read(self, rows: Tensor) -> Tensor:
        """Decoded side by side. Raises UnreadableImages with all that are unreadable among these."""
        images, bad = self.read_all(rows)
        if bad:
            named = {self.files[int(rows[i])]: why for i, why in bad.items()}
            raise UnreadableImages(named, len(rows))
        return images

    def read_all(self, rows: Tensor) -> tuple[Tensor, dict[int, str]]:
        """Images (k, 3, s, s), and place -> reason for the unreadable, which are left black."""
        images = np.zeros((len(rows), 3, self.size, self.size), dtype=np.uint8)
        bad: dict[int, str] = {}
        with ThreadPoolExecutor(THREADS) as pool:
            for i, got in enumerate(pool.map(self._decode, rows.tolist())):
                if isinstance(got, str):
                    bad[i] = got
                else:
                    images[i] = got
        tensor = torch.from_numpy(images)
        return (self.change.apply(tensor, rows) if self.change else tensor), bad

    def _decode(self, row: int) -> np.ndarray | str:
        try:
            with open_image(self.files[row]) as image:
                return self.fit(image)
        except Exception as error:  # a damaged file may make Pillow raise anything
            return reason(error)

    def contents(self) -> bytes:
        """Names and sizes of the files in this view, and what is done to them."""
        files = (self.files[row] for row in self.index.tolist())
        lines = (f"{file.name}:{_stat(file)[0]}" for file in files)
        return "\n".join((self._treatment(), *lines)).encode()

    def key(self) -> str:
        """Names what all the files decode to: hash of paths, sizes, times, and what is done to them."""
        stats = ((file, *_stat(file)) for file in self.files)
        lines = (f"{file}:{size}:{time}" for file, size, time in stats)
        text = "\n".join((self._treatment(), *lines))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _treatment(self) -> str:
        return f"{self.fit} {self.change.name if self.change else ''}"


def _stat(file: Path) -> tuple[int, int]:
    """Size and time of the last change, 0 for a file that is not there: reading it will name it."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


class MappedImages(LazyImages):
    """Rows of a memory-mapped array (N, 3, s, s) of uint8."""

    def __init__(self, array: np.ndarray, index: Tensor) -> None:
        self.array, self.index = array, index

    @property
    def size(self) -> int:
        return int(self.array.shape[-1])

    def view(self, index: Tensor) -> "MappedImages":
        return MappedImages(self.array, self.index[index])

    def contents(self) -> bytes:
        """The rows themselves."""
        return self.array[self.index.numpy()].tobytes()

    def read(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(self.array[rows.numpy()])


def as_tensor(images: Tensor | LazyImages) -> Tensor:
    """The images themselves, read if they were not."""
    return images if isinstance(images, Tensor) else images[:]
