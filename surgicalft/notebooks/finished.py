"""Whether an executed copy is what would come out again: its key is kept in the copy, with the files that it made."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

import surgicalft
from surgicalft.notebooks.plan import Task

STAMP = "surgicalft"  # the copy's metadata of this name
PACKAGES = ("surgicalft", "theory")


def key_of(task: Task) -> str:
    """SHA-256 of what decides the outcome: the notebook's text, its parameters, and the source of both packages."""
    parts = (task.source.read_text(encoding="utf-8"), json.dumps(task.values, sort_keys=True))
    return hashlib.sha256("\0".join((*parts, _packages())).encode()).hexdigest()


def stamp(copy: NotebookNode, key: str, made: list[str]) -> None:
    """Note in an executed copy its key, and the files under figures/ that it made."""
    copy.metadata[STAMP] = {"key": key, "made": made, "version": surgicalft.__version__}


def read_stamp(copy: Path) -> dict[str, Any] | None:
    """What `stamp` noted; None where there is no such copy."""
    try:
        found = nbformat.read(copy, as_version=4).metadata.get(STAMP)
    except (OSError, ValueError, AttributeError):  # none there, or one that is no notebook
        return None
    return dict(found) if found else None


def is_finished(copy: Path, key: str, figures: Path) -> bool:
    """Whether this copy has that key and what it made is still there."""
    noted = read_stamp(copy)
    return (
        noted is not None
        and noted.get("key") == key
        and all((figures / name).is_file() for name in noted["made"])
    )


def file_times(folder: Path) -> dict[str, int]:
    """When each file below a folder was written; relative names."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


@cache
def _packages() -> str:
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(p for name in PACKAGES for p in (root / name).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
