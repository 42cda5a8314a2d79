"""A store's records, read from a snapshot: looking at a store never makes, upgrades, repairs or locks it."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from surgicalft.sweep.record import Record
from surgicalft.sweep.sqlite_file import cut_short, holders
from surgicalft.sweep.store import DAMAGED, Store, StoreError

UNREADABLE = "can't be opened: are the file and its folder yours to read?"


def read_records(path: str | Path, timeout: float = 5.0) -> list[Record]:
    """The records of the store `path`, in the order in which they were first stored.

    A sweep may be writing meanwhile: what it had stored when the reading began is read. `timeout` (s): how long to
    wait for a process that locks the file.
    Raises StoreError, and leaves the file as it is, if it is missing, damaged, locked, from a newer version, or not a
    store.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise StoreError(
            path, "is not there; name the store of a sweep, such as results/runs.sqlite"
        )
    if path.is_dir():
        raise StoreError(path, "is a folder; give the name of a file")
    if not path.stat().st_size or cut_short(path):
        raise StoreError(path, DAMAGED)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "snapshot.sqlite")
        try:
            _snapshot(path, copy, timeout)
            with Store(copy) as store:
                return store.records()
        except StoreError as error:
            raise StoreError(path, error.reason) from error
        except PermissionError as error:
            raise StoreError(path, UNREADABLE) from error


def _snapshot(path: Path, copy: Path, timeout: float) -> None:
    """Copy the database of one moment; again where a writer came while the file was taken for quiet."""
    quiet = _quiet(path)
    before = os.stat(path)
    _copy(path, copy, timeout, immutable=quiet)
    after = os.stat(path)
    if quiet and (not _quiet(path) or before.st_mtime_ns != after.st_mtime_ns):
        copy.unlink()
        _copy(path, copy, timeout, immutable=False)


def _quiet(path: Path) -> bool:
    """Whether nobody writes: a file in WAL mode without its log. Only then may locks be left out.

    Without locks SQLite makes no files beside the store, which a reader could not remove again.
    """
    with path.open("rb") as file:
        header = file.read(20)
    return header[18:20] == b"\2\2" and not path.with_name(path.name + "-wal").exists()


def _copy(path: Path, copy: Path, timeout: float, immutable: bool) -> None:
    address = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' * immutable}"
    try:
        with (
            closing(
                sqlite3.connect(address, timeout=timeout, isolation_level=None, uri=True)
            ) as db,
            closing(sqlite3.connect(copy)) as target,
        ):
            db.execute("BEGIN")  # the first reading waits for a lock; backup() would wait for ever
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.backup(target)
    except sqlite3.DatabaseError as error:
        raise StoreError(path, _reason(path, str(error), timeout)) from error


def _reason(path: Path, message: str, timeout: float) -> str:
    if "is locked" in message:
        return f"was locked by another connection for {timeout:g} s: {holders(path)}"
    if "not a database" in message:
        return "is not a store, or its beginning is damaged; it was left as it is"
    if "unable to open" in message:
        return UNREADABLE
    return f"{DAMAGED} ({message})" if "malformed" in message else message
