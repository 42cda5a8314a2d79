"""Labelled images from folders with one folder for each class."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from surgicalft.shifts.base import Labelled
from surgicalft.shifts.decoded import keep
from surgicalft.shifts.image_files import THREADS, Fit, ImageFiles, UnreadableImages

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
Files = dict[str, list[Path]]  # class -> its images


def find_splits(folder: Path) -> dict[str, Path]:
    """The folders train, valid (or val, validation) and test in `folder`; itself as "train" where it has other ones.

    Raises ValueError where it is no folder.
    """
    names = {sub.name for sub in _subfolders(folder)}
    known = {name for spellings in SPLITS.values() for name in spellings}
    if "train" not in names or not names <= known:
        return {"train": folder}
    found = {part: [s for s in spellings if s in names] for part, spellings in SPLITS.items()}
    if several := [spellings for spellings in found.values() if len(spellings) > 1]:
        raise ValueError(f"{folder} has {several[0]}: keep one of these")
    return {part: folder / spellings[0] for part, spellings in found.items() if spellings}


def class_names(folder: Path) -> tuple[str, ...]:
    """The classes of a folder that `read_folders` takes, or of its folder train, in the order of their labels."""
    return tuple(_files(find_splits(folder)["train"]))


def read_folders(
    folders: Mapping[str, Path],
    size: int | None = None,
    usual: int | None = None,
    progress: bool = False,
) -> tuple[dict[str, Labelled], tuple[str, ...]]:
    """Name of the part -> its images (n, 3, s, s), in the order of the file names within each class; the classes.

    The classes are the folders' names, sorted, and the same in each of `folders`; files with other endings than
    `SUFFIXES` are left out. `size`: the shorter side is resized to it and the centre cropped; without it images keep
    their size if all are squares of one size, else they are brought to `usual`.

    Raises ValueError for what is no folder, has no class folders or other ones than the first, or a class without
    images, and where there is no size; UnreadableImages names the files that are no images.
    """
    found = {part: _files(folder) for part, folder in folders.items()}
    first, *others = folders
    classes = tuple(found[first])
    for part in others:
        if differing := sorted(set(found[part]) ^ set(classes)):
            raise ValueError(
                f"{folders[part]} and {folders[first]} must have the same class folders, but only one of them has "
                f"{differing}"
            )
    files = [file for part in found.values() for images in part.values() for file in images]
    fit = Fit(size or _common_size(files, usual))
    return {part: _labelled(images, fit, progress) for part, images in found.items()}, classes


def _labelled(found: Files, fit: Fit, progress: bool) -> Labelled:
    files = [file for images in found.values() for file in images]
    labels = [k for k, images in enumerate(found.values()) for _ in images]
    return keep(Labelled(ImageFiles(files, fit), torch.tensor(labels)), progress=progress)


def _files(folder: Path) -> Files:
    subfolders = _subfolders(folder)
    if not subfolders:
        raise ValueError(f"{folder} has no class folders: it needs one for each class, with images")
    found = {
        sub.name: sorted(file for file in sub.rglob("*") if file.suffix.lower() in SUFFIXES)
        for sub in subfolders
    }
    if empty := [name for name, files in found.items() if not files]:
        raise ValueError(
            f"{folder}: no images ({', '.join(SUFFIXES)}) in the class folders {empty}"
        )
    return found


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))


def _common_size(files: Sequence[Path], usual: int | None) -> int:
    """The side of all images, or `usual` where they are not squares of one size."""
    with ThreadPoolExecutor(THREADS) as pool:
        headers = dict(zip(files, pool.map(_header, files), strict=True))
    if bad := {file: found for file, found in headers.items() if isinstance(found, str)}:
        raise UnreadableImages(bad, len(files))
    example = {found: file for file, found in headers.items() if not isinstance(found, str)}
    sides = {side for found in example for side in found}
    if len(sides) == 1:
        return sides.pop()
    if usual is None:
        some = "; ".join(f"{file} is {w} x {h}" for (w, h), file in [*example.items()][:2])
        raise ValueError(
            f"images are not squares of one size: {some}; give `size`, the side to bring them to"
        )
    return usual


def _header(file: Path) -> tuple[int, int] | str:
    """Width and height, without decoding, or why there is none."""
    try:
        with Image.open(file) as image:
            return image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
