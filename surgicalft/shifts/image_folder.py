"""Images from `root/{train,test}/<class>/<file>`, in a folder or in a tar archive, decoded once."""

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from surgicalft.paths import cache_dir
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.pixels import open_image, to_rgb


def read_image_folder(
    path: Path, classes: Sequence[str], size: int, counts: dict[str, int], suffix: str
) -> dict[str, Labelled]:
    """Split name -> images (n, 3, size, size) in the order of their file names within each class.

    Files that do not end in `suffix` are left out. `path` is a folder, or an archive that holds one, with
    the splits in it. `counts` are the images each split must have, so that a truncated copy is refused
    rather than used. What an archive holds is kept in the cache folder, by the archive's path, size and time.
    """
    cached = _cached_file(path)
    if cached is None or not cached.exists():
        parts = {split: _decode(path, split, classes, size, suffix) for split in counts}
        if cached is not None:
            _save(cached, parts)
    else:
        with np.load(cached) as arrays:
            parts = {split: (arrays[split], arrays[f"{split}_labels"]) for split in counts}
    for split, expected in counts.items():
        if len(parts[split][0]) != expected:
            raise ValueError(
                f"{path}: {len(parts[split][0])} {split} images, expected {expected}; "
                "the copy is incomplete or another data set"
            )
    return {
        split: Labelled(torch.from_numpy(images), torch.from_numpy(labels))
        for split, (images, labels) in parts.items()
    }


def _cached_file(path: Path) -> Path | None:
    """Archives are slow to read and stand for themselves; folders are read afresh."""
    if path.is_dir():
        return None
    stat = path.stat()
    key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    return cache_dir("decoded") / (hashlib.sha256(key.encode()).hexdigest()[:16] + ".npz")


def _save(cached: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    arrays = {split: images for split, (images, _) in parts.items()}
    arrays |= {f"{split}_labels": labels for split, (_, labels) in parts.items()}
    partial = cached.with_suffix(".partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(cached)


def _decode(
    path: Path, split: str, classes: Sequence[str], size: int, suffix: str
) -> tuple[np.ndarray, np.ndarray]:
    found: dict[str, list[tuple[str, bytes]]] = {}
    for member, content in _files(path):
        parts = PurePosixPath(member).parts
        if len(parts) >= 3 and parts[-3] == split and member.endswith(suffix):
            found.setdefault(parts[-2], []).append((member, content))
    if sorted(found) != sorted(classes):
        raise ValueError(f"{path}: {split} has classes {sorted(found)}, expected {list(classes)}")
    files = [(k, *file) for k, name in enumerate(classes) for file in sorted(found[name])]
    images = np.stack([_image(path, member, content, size) for _, member, content in files])
    return images, np.array([k for k, *_ in files], dtype=np.int64)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file; nothing is extracted, so no archive can write anywhere."""
    if path.is_dir():
        for file in sorted(path.rglob("*.*")):
            if file.is_file():  # a pipe would be waited for
                yield file.relative_to(path.parent).as_posix(), file.read_bytes()
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                handle = archive.extractfile(member) if member.isfile() else None
                if handle is not None:
                    yield member.name, handle.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path} is truncated or not a tar archive: {error}") from error


def _image(path: Path, member: str, content: bytes, size: int) -> np.ndarray:
    try:
        with open_image(io.BytesIO(content)) as opened:
            image = np.asarray(to_rgb(opened, upright=False))
    except Exception as error:  # a damaged file may make Pillow raise anything
        raise ValueError(f"{path}: {member} is not a readable image: {error}") from error
    if image.shape != (size, size, 3):
        raise ValueError(f"{path}: {member} is {image.shape}, expected {(size, size, 3)}")
    return image.transpose(2, 0, 1)
