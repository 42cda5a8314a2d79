"""The publisher's copy of a data set, by pooch: downloaded once, checked, kept in the cache folder.

What a broken connection or a killed process leaves half done is kept as `<file>.part` and resumed.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from surgicalft.paths import cache_dir

ATTEMPTS = 5  # within one call, each going on where the one before broke off
TIMEOUT = 60  # seconds without a byte
PIECE = 2**16  # bytes


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
    A file whose checksum is wrong is refused (ValueError): a download is not kept, one that was put into the
    folder by hand is left there, unused. A second process waits for the first.
    """
    folder = cache_dir("downloads")
    path = folder / archive.file
    with FileLock(folder / f".{archive.file}.lock"):
        if path.is_file():
            _check(path, archive)
        else:
            _download(archive, path, looked_for)
            _note(path, archive)
    return path


def _download(archive: Archive, path: Path, looked_for: str) -> None:
    part = path.with_name(path.name + ".part")
    downloader = Resuming(part)
    try:
        pooch.retrieve(archive.url, archive.checksum, path.name, path.parent, downloader=downloader)
    except OSError as error:  # requests' errors are OSErrors
        kept = (
            f" The {part.stat().st_size:,} bytes in {part} will be resumed."
            if part.is_file()
            else ""
        )
        raise FileNotFoundError(
            f"{looked_for}, and {archive.file} ({archive.size}) could not be downloaded "
            f"({type(error).__name__}). Get it from {archive.page} and put it, or what it holds, into "
            f"the data folder (data_dir or SURGICALFT_DATA), or the file itself into {path.parent}.{kept}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{archive.url} is not what {archive.page} describes: {error}") from error


class Resuming:
    """A downloader for pooch: `part` holds what came so far, and is asked of the server no more.

    A server that does not know `Range`, or whose file has changed in size, sends the whole again.
    """

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._attempt(url)
                break
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if attempt == ATTEMPTS or not self.part.is_file():
                    raise
        self.part.replace(output_file)

    def _attempt(self, url: str) -> None:
        """Adds to `part` what is missing; requests.ConnectionError where the connection ends too soon."""
        done = self.part.stat().st_size if self.part.is_file() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if done and response.status_code == requests.codes.requested_range_not_satisfiable:
                if _total(response, done) == done:
                    return  # it was complete: only the renaming was missing
                self.part.unlink()  # begun on another file
                return self._attempt(url)
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                done = 0
            self._write(response, done)

    def _write(self, response: requests.Response, done: int) -> None:
        total = _total(response, done)
        with self.part.open("ab" if done else "wb") as file:
            for piece in _shown(response, self.part.stem, done, total):
                file.write(piece)
            have = file.tell()
        if total is not None and have != total:
            raise requests.ConnectionError(f"{have} of {total} bytes arrived")


def _total(response: requests.Response, done: int) -> int | None:
    """The whole file's bytes, where the server says so."""
    if match := re.search(r"/(\d+)$", response.headers.get("Content-Range", "")):
        return int(match[1])
    length = response.headers.get("Content-Length")
    return done + int(length) if length else None


def _shown(response: requests.Response, name: str, done: int, total: int | None) -> Iterator[bytes]:
    with tqdm(desc=name, initial=done, total=total, unit="B", unit_scale=True) as bar:
        for piece in response.iter_content(PIECE):
            yield piece
            bar.update(len(piece))


def _seal(path: Path, archive: Archive) -> tuple[Path, str]:
    """Where it is noted that this very file was checked, and the note."""
    found = os.stat(path)
    note = json.dumps([archive.checksum, found.st_size, found.st_mtime_ns])
    return path.with_name(f".{path.name}.checked"), note


def _note(path: Path, archive: Archive) -> None:
    seal, note = _seal(path, archive)
    seal.write_text(note)


def _check(path: Path, archive: Archive) -> None:
    """Reads the file once; later calls trust the note, as long as size and time are the same."""
    seal, note = _seal(path, archive)
    if seal.is_file() and seal.read_text() == note:
        return
    kind, _, expected = archive.checksum.partition(":")
    found = pooch.file_hash(str(path), alg=kind)
    if found != expected:
        raise ValueError(
            f"{path} has the {kind} {found}, but {archive.page} states {expected}: it is incomplete or "
            "another file. Delete it to have it downloaded"
        )
    seal.write_text(note)
