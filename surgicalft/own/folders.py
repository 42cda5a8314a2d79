"""Labelled images from folders with one folder for each class.

A data set is a folder of class folders, or a folder with the parts train, valid and test, in any of the `SPLITS`'
spellings, in upper or lower case, and with what is often added (`train2017`, `test_set`). A folder that holds nothing
but such a folder is looked through. Classes are the names of their folders, in order; where all are whole numbers, in
the order of the numbers (2 before 10), as timm has it.

What looks like a part is never taken for a class: folders that fit neither are refused. Links to folders are followed,
each folder once. Left out are hidden files and folders, those that systems add (`__MACOSX`, `Thumbs.db`), and what the
command `surgicalft which-block` writes.
"""

import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from surgicalft.shifts.base import Labelled
from surgicalft.shifts.decoded import keep
from surgicalft.shifts.image_files import THREADS, Fit, ImageFiles, UnreadableImages, reason
from surgicalft.shifts.pixels import SUFFIXES, open_image, upright_size

SPLITS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}
STORE, STEM = (
    "runs.sqlite",
    "which_block",
)  # what the command writes: its store, and the names of its results
SHOWN = 20  # names in a line
_ADDED = re.compile(r"([ _-]?(set|data|images|split))?[ _-]?\d*\Z")  # train2017, test_set
_JUNK = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "thumbs.db"}  # fmt: skip
_OTHER_IMAGES = (  # whose absence from a class would go unnoticed
    *(".avif", ".cr2", ".dcm", ".dng", ".eps", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl"),
    *(".nef", ".npy", ".psd", ".raw", ".svg", ".tga"),
)

Files = dict[str, list[Path]]  # class -> its images


def find_splits(folder: Path) -> dict[str, Path]:
    """Find the folders of the parts of a data set.

    Parameters
    ----------
    folder: a data set, or a folder with nothing but a data set in it.

    Returns
    -------
    "train" and, if they are there, "valid" and "test", each with its folder; a folder of class folders is "train"
    itself. Other folders beside the parts are left out with a warning if they hold images.

    Raises
    ------
    ValueError for what is no folder, two spellings of one part, parts without one to tune on, and a single part beside
    folders of images that may be classes.
    """
    folder = _unwrapped(folder)
    subfolders = _subfolders(folder)
    found: dict[str, list[Path]] = {}
    for sub in sorted(subfolders, key=_spelling):
        if part := _part(sub.name):
            found.setdefault(part, []).append(sub)
    if not found:
        return {"train": folder}
    names = [sub.name for subs in found.values() for sub in subs]
    rename = f"a class of that name needs another one, such as {names[0]}-class"
    if several := [[sub.name for sub in subs] for subs in found.values() if len(subs) > 1]:
        raise ValueError(f"{folder} has {several[0]}: keep one of these; {rename}")
    if "train" not in found:
        raise ValueError(
            f"{folder} has {names}, but no folder {' or '.join(SPLITS['train'])}: the images to tune on need one "
            f"(in Python, give each folder by its argument); {rename}"
        )
    _check_beside(folder, found, subfolders, rename)
    return {part: subs[0] for part, subs in found.items()}


def _check_beside(
    folder: Path, found: Mapping[str, list[Path]], subfolders: Sequence[Path], rename: str
) -> None:
    """A warning of other folders with images beside the parts, or ValueError if these may be classes."""
    others = [sub.name for sub in subfolders if not _part(sub.name) and _has_images(sub)]
    if not others:
        return
    names = [subs[0].name for subs in found.values()]
    classes = {sub.name for sub in _subfolders(found["train"][0])}
    if len(found) == 1 or classes & set(others):
        raise ValueError(
            f"{folder} has {names} beside {_some(others)}: give class folders alone, or the parts alone; {rename}"
        )
    warnings.warn(f"{folder}: left out beside {names}: {_some(others)}", stacklevel=4)


def class_names(folder: Path) -> tuple[str, ...]:
    """The classes of a folder that `find_splits` takes, in the order of their labels."""
    return tuple(_files(find_splits(folder)["train"]))


def read_folders(
    folders: Mapping[str, Path],
    size: int | None = None,
    usual: int | None = None,
    progress: bool = False,
) -> tuple[dict[str, Labelled], tuple[str, ...]]:
    """Read the images of some parts, class by class, in the order of the files' names.

    Parameters
    ----------
    folders: part -> its folder of class folders; the classes must be the same in each.
    size: the shorter side is resized to it and the centre cropped; without it, images keep their size if all are
        squares of one size, else they are brought to `usual`.
    progress: show how far it came.

    Returns
    -------
    Part -> its images (n, 3, s, s) uint8 and labels; and the classes. `surgicalft.shifts.pixels` says how images are
    converted; they are turned upright. Files of formats that are not read are left out, with a warning.

    Raises
    ------
    UnreadableImages with every file of any part that cannot be read; ValueError for what is no folder, has no class
    folders or other ones than the first, or a class without images, and where there is no size.
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
    side, bad = (size, {}) if size else _common_size(files, usual)
    fit = Fit(side, upright=True)
    read: dict[str, Labelled] = {}
    for part, images in found.items():
        try:
            read[part] = _labelled(images, fit, progress)
        except UnreadableImages as error:
            bad |= error.files
    if bad:
        raise UnreadableImages(bad, len(files))
    return read, classes


def describe_classes(classes: Sequence[str], parts: Mapping[str, Labelled]) -> str:
    """One line: the classes in the order of their labels, and how many images each part has of them."""
    order = "number" if _numbered(classes) else "name"
    counts = [
        f"{name} ({' + '.join(str(int((part.labels == k).sum())) for part in parts.values())})"
        for k, name in enumerate(classes[:SHOWN])
    ]
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return (
        f"{len(classes)} classes in the order of their {order}s, with their images in {' + '.join(parts)}: "
        f"{', '.join(counts)}{more}"
    )


def _labelled(found: Files, fit: Fit, progress: bool) -> Labelled:
    files = [file for images in found.values() for file in images]
    labels = [k for k, images in enumerate(found.values()) for _ in images]
    return keep(Labelled(ImageFiles(files, fit), torch.tensor(labels)), progress=progress)


def _files(folder: Path) -> Files:
    subfolders = _subfolders(folder)
    if not subfolders:
        raise ValueError(f"{folder} has no class folders: it needs one for each class, with images")
    _check_inside(subfolders)
    if _numbered([sub.name for sub in subfolders]):
        subfolders.sort(key=lambda sub: (int(sub.name), sub.name))
    found: Files = {}
    other: list[Path] = []
    for sub in subfolders:
        files = sorted(_walk(sub))
        found[sub.name] = [file for file in files if file.suffix.lower() in SUFFIXES]
        other += [file for file in files if file.suffix.lower() in _OTHER_IMAGES]
    if empty := [name for name, files in found.items() if not files]:
        raise ValueError(
            f"{folder}: no images ({', '.join(SUFFIXES)}) in the class folders {empty}"
        )
    if other:
        warnings.warn(
            f"{folder}: {len(other)} files are left out, of formats that are not read: {_some(other)}",
            stacklevel=3,
        )
    return found


def _check_inside(classes: Sequence[Path]) -> None:
    """ValueError for parts inside the class folders, which would mix what is to be kept apart."""
    for sub in classes:
        parts = {_part(inner.name): inner.name for inner in _subfolders(sub)}
        if len(parts.keys() - {None}) > 1:
            names = [name for part, name in parts.items() if part]
            raise ValueError(
                f"{sub} has {names} inside: put the class folders into the parts, such as {names[0]}/{sub.name}"
            )


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the only one in it, if that one has folders with images, and so on."""
    while True:
        subfolders = _subfolders(folder)
        if len(subfolders) != 1 or _part(subfolders[0].name):
            return folder
        if not any(map(_has_images, _subfolders(subfolders[0]))):
            return folder
        folder = subfolders[0]


def _subfolders(folder: Path) -> list[Path]:
    """Those that may be classes or parts, by name."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    above = _above(folder)
    subs = [folder / name for name in _names(folder) if os.path.isdir(folder / name)]
    return [sub for sub in subs if os.path.realpath(sub) not in above and not _is_output(sub)]


def _names(folder: Path) -> list[str]:
    """What is in a folder, sorted, without hidden entries, a system's own and the command's results."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from error
    results = STORE in names
    return [
        name
        for name in names
        if not (name.startswith(".") or name.lower() in _JUNK or (results and _is_result(name)))
    ]


def _is_result(name: str) -> bool:
    return name.startswith((STORE, f"{STEM}."))


def _is_output(folder: Path) -> bool:
    """Whether it is the command's own folder of results."""
    return (folder / STORE).is_file() and not _has_images(folder)


def _has_images(folder: Path) -> bool:
    return any(file.suffix.lower() in SUFFIXES for file in _walk(folder))


def _walk(folder: Path, seen: set[str] | None = None) -> Iterator[Path]:
    """Every file below, through links, too; each folder once, and none that the first lies in."""
    seen = _above(folder) if seen is None else seen
    for name in _names(folder):
        path = folder / name
        if not os.path.isdir(path):
            yield path
        elif (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield from _walk(path, seen)


def _above(folder: Path) -> set[str]:
    """The real paths of a folder and of all that it lies in, by its name and by what that links to."""
    paths = (Path(os.path.abspath(folder)), Path(os.path.realpath(folder)))
    return {os.path.realpath(above) for path in paths for above in (path, *path.parents)}


def _part(name: str) -> str | None:
    """The part that a folder of that name holds; None for other names."""
    return next((part for part, spellings in SPLITS.items() if _plain(name) in spellings), None)


def _plain(name: str) -> str:
    return _ADDED.sub("", name.casefold())


def _spelling(folder: Path) -> int:
    """Where its name stands among all spellings."""
    known = [name for spellings in SPLITS.values() for name in spellings]
    plain = _plain(folder.name)
    return known.index(plain) if plain in known else 0


def _numbered(names: Collection[str]) -> bool:
    return all(re.fullmatch("[0-9]+", name) for name in names)


def _some(names: Sequence[object]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more


def _common_size(files: Sequence[Path], usual: int | None) -> tuple[int, dict[Path, str]]:
    """The side of all images, or `usual` where they are not squares of one size; and what cannot be read."""
    with ThreadPoolExecutor(THREADS) as pool:
        headers = dict(zip(files, pool.map(_header, files), strict=True))
    if bad := {file: found for file, found in headers.items() if isinstance(found, str)}:
        return 1, bad  # decoding, at the least cost, finds the others that are damaged
    example = {found: file for file, found in headers.items() if not isinstance(found, str)}
    sides = {side for found in example for side in found}
    if len(sides) == 1:
        return sides.pop(), {}
    if usual is None:
        some = "; ".join(f"{file} is {w} x {h}" for (w, h), file in [*example.items()][:2])
        raise ValueError(
            f"images are not squares of one size: {some}; give `size`, the side to bring them to"
        )
    return usual, {}


def _header(file: Path) -> tuple[int, int] | str:
    """Width and height once upright, or why there is none."""
    try:
        with open_image(file) as image:
            return upright_size(image)
    except Exception as error:  # a damaged file may make Pillow raise anything
        return reason(error)
