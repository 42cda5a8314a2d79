"""The publisher's copy of a data set, by pooch: downloaded once, checked, kept in the cache folder."""

from dataclasses import dataclass
from pathlib import Path

import pooch

from surgicalft.paths import cache_dir


@dataclass(frozen=True)
class Archive:
    """A publisher's file: its address, checksum (`md5:...`), the page that describes it, its size."""

    url: str
    checksum: str
    page: str
    size: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1].split("?")[0]


def fetch(archive: Archive, looked_for: str) -> Path:
    """The archive's local path, downloading it if the cache lacks it.

    FileNotFoundError names what was looked for locally, the file, the publisher's page and the folder.
    A download whose checksum is wrong is refused and not kept (ValueError).
    """
    folder = cache_dir("downloads")
    path = folder / archive.file
    if path.is_file():
        return path
    try:
        pooch.retrieve(archive.url, archive.checksum, archive.file, folder, progressbar=True)
    except OSError as error:  # requests' errors are OSErrors
        raise FileNotFoundError(
            f"{looked_for}, and {archive.file} ({archive.size}) could not be downloaded "
            f"({type(error).__name__}). Get it from {archive.page} and put it, or what it holds, into "
            f"the data folder (data_dir or SURGICALFT_DATA), or the file itself into {folder}"
        ) from error
    return path
