"""Image files decoded and resized once: into memory, or into a memory-mapped file of the cache folder.

A killed decoding goes on where it stopped; two processes that want the same file wait for each other.
"""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from surgicalft.paths import cache_dir
from surgicalft.settings import check_choice
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.image_files import ImageFiles, LazyImages, MappedImages, UnreadableImages

UNREADABLE = ("raise", "skip")
MEMORY = 2**31  # bytes
CHUNK = 512  # images between two notes of how far it came

Read = tuple[Tensor | LazyImages, dict[int, str]]  # images, and place -> reason of the unreadable


def keep(
    data: Labelled, unreadable: str = "raise", memory: int = MEMORY, progress: bool = False
) -> Labelled:
    """The same images where reading them again is cheap.

    Up to `memory` bytes they become a tensor. More are decoded, the whole list of files that `data` is a
    view of, into the cache folder, once for every view and every process, and read from there by the row.
    `unreadable`: "raise" UnreadableImages, which names and counts them, or "skip" them with a warning that does.
    Raises OSError where the disk has no room.
    """
    check_choice("unreadable", unreadable, UNREADABLE)
    if not isinstance(data.images, ImageFiles):
        return data
    read = _in_memory if data.images.nbytes <= memory else _mapped
    images, bad = read(data.images, progress)
    if not bad:
        return replace(data, images=images)
    error = UnreadableImages({data.images.file(i): why for i, why in bad.items()}, len(data))
    if unreadable == "raise":
        raise error
    warnings.warn(f"skipped: {error}", stacklevel=2)
    good = torch.tensor([i for i in range(len(data)) if i not in bad], dtype=torch.int64)
    return replace(data, images=images).take(good)


def _in_memory(images: ImageFiles, progress: bool) -> Read:
    out = torch.empty(images.shape, dtype=torch.uint8)
    bad: dict[int, str] = {}
    for start in _starts(0, len(images), progress and len(images) > CHUNK):
        part = slice(start, start + CHUNK)
        out[part], wrong = images.read_all(images.index[part])
        bad |= {start + i: why for i, why in wrong.items()}
    return out, bad


def _mapped(images: ImageFiles, progress: bool) -> Read:
    path = cache_dir("decoded") / f"{images.key()}.npy"
    notes = path.with_suffix(".json")
    with FileLock(f"{path}.lock"):
        if not (path.exists() and notes.exists()):
            _decode(images, path, notes, progress)
    bad = {int(row): why for row, why in json.loads(notes.read_text())["unreadable"].items()}
    places = {row: place for place, row in enumerate(images.index.tolist())}
    mapped = MappedImages(np.load(path, mmap_mode="r"), images.index)
    return mapped, {places[row]: why for row, why in bad.items() if row in places}


def _decode(images: ImageFiles, path: Path, notes: Path, progress: bool) -> None:
    """All files of which `images` is a view, into `path`, renamed to it at the end."""
    count = len(images.files)
    shape = (count, *images.shape[1:])
    partial, log = path.with_suffix(".partial.npy"), path.with_suffix(".partial.json")
    state = json.loads(log.read_text()) if partial.exists() and log.exists() else None
    if state is None:
        _check_room(path.parent, int(np.prod(shape)), count)
        state = {"done": 0, "unreadable": {}}
        array = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
    else:
        array = np.lib.format.open_memmap(partial, "r+")
    for start in _starts(state["done"], count, progress):
        rows = torch.arange(start, min(start + CHUNK, count))
        decoded, bad = images.read_all(rows)
        array[start : start + CHUNK] = decoded.numpy()
        array.flush()
        state["unreadable"] |= {str(start + i): why for i, why in bad.items()}
        state["done"] = start + len(rows)
        _write(log, state)
    _write(notes, state)
    partial.replace(path)
    log.unlink()


def _starts(done: int, count: int, progress: bool) -> tqdm:
    starts = range(done, count, CHUNK)
    return tqdm(starts, f"decoding {count:,} images", unit=f"x{CHUNK}", disable=not progress)


def _write(path: Path, state: dict[str, object]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(state))
    beside.replace(path)


def _check_room(folder: Path, need: int, count: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"{count:,} decoded images need {need / 1e9:.1f} GB in {folder}, which has {free / 1e9:.1f} GB "
            "free; SURGICALFT_CACHE moves the cache folder"
        )
