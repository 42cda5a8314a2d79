"""Where data are read from and where what can be made again is kept."""

import os
from pathlib import Path

import platformdirs


def data_dir(folder: str | Path | None = None) -> Path | None:
    """The folder of local data sets: `folder`, else the environment's SURGICALFT_DATA, else None."""
    given = folder or os.environ.get("SURGICALFT_DATA")
    if not given:
        return None
    path = Path(given).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"the data folder {path} does not exist or is not a folder")
    return path


def cache_dir(*parts: str) -> Path:
    """A folder for downloads, decoded images and source models; SURGICALFT_CACHE moves its root."""
    root = os.environ.get("SURGICALFT_CACHE") or platformdirs.user_cache_dir("surgicalft")
    path = Path(root).expanduser().joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def project_dir(*parts: str) -> Path:
    """A folder under the project's root: the nearest folder upwards that holds pyproject.toml, else here.

    Notebooks write to the same place whether started from the root or from their own folder.
    """
    here = Path.cwd()
    root = next((p for p in (here, *here.parents) if (p / "pyproject.toml").is_file()), here)
    path = root.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path
