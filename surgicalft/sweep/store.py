"""What runs leave, in one SQLite file: the table `records`, one row per run.

One process writes (the coordinator of a sweep), any number may read meanwhile (write-ahead log, so
the file belongs on a local disk, not on NFS). The columns are the fields of `Record`; `settings`,
`history`, `versions` and `metrics` are JSON texts. A store of an earlier schema version (1 without metrics, 2
without reuse) is upgraded when it is opened.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgicalft.sweep.record import COLUMNS, Record, from_row, to_row
from surgicalft.sweep.sqlite_file import cut_short, holders, uri

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Record", "Store", "StoreError"]

SCHEMA_VERSION = 3
APPLICATION_ID = 0x53555246  # in the file's header: tells a store from other programs' databases
SCHEMA = """CREATE TABLE records (
    id TEXT PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL,
    history TEXT NOT NULL, epoch INTEGER, valid_accuracy REAL, valid_loss REAL, test_accuracy REAL,
    n_test INTEGER, provenance TEXT NOT NULL, device TEXT NOT NULL, wall_time REAL NOT NULL,
    versions TEXT NOT NULL, created TEXT NOT NULL, metrics TEXT NOT NULL DEFAULT '{}',
    reuse TEXT NOT NULL DEFAULT '')"""
UPGRADES = {  # from which version: how
    1: "ALTER TABLE records ADD COLUMN metrics TEXT NOT NULL DEFAULT '{}'",
    2: "ALTER TABLE records ADD COLUMN reuse TEXT NOT NULL DEFAULT ''",
}
DAMAGED = "is damaged or truncated; it was left as it is. Restore a copy or name another file"
_REASONS = {
    "is full": "the disk is full. No finished record that was stored is lost; the one being "
    "written was not stored. Free some space and ask again",
    "readonly": "is read-only: it can be read, but nothing can be stored",
    "not a database": "is not a store, or its beginning is damaged; it was left as it is",
    "malformed": DAMAGED,
    "unable to open": "can't be opened: are the file and its folder yours to read and write?",
}


class StoreError(RuntimeError):
    """The store at `path` can't be read or written, for `reason`."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


_UPSERT = (
    f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT(id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in COLUMNS[1:])} "
    # In SQL, so that no other coordinator comes in between:
    "WHERE records.status != 'finished' OR excluded.status = 'finished'"
)


class Store:
    """The records kept in the file `path`, which is made, with its folders, where there is none.

    A file that may not be written is opened for reading. To be used by the thread that made it.
    `timeout` (s): how long to wait for another process that is writing.
    Raises StoreError, and leaves the file as it is, if it is damaged, truncated, from a newer
    version, or not a store; also if the disk is full or the file stays locked.
    """

    def __init__(self, path: str | Path, timeout: float = 30.0) -> None:
        self.path = Path(path).expanduser()
        self.timeout = timeout
        if self.path.is_dir():
            raise StoreError(self.path, "is a folder; give the name of a file")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(self.path, f"its folder can't be made: {error}") from error
        if cut_short(self.path):
            raise StoreError(self.path, DAMAGED)
        with self._explained():
            self._db = sqlite3.connect(
                uri(self.path), timeout=timeout, isolation_level=None, uri=True
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def get(self, id: str) -> Record | None:
        """The record of this identity, or None."""
        found = list(self._select("WHERE id = ?", id))
        return found[0] if found else None

    def among(self, ids: Iterable[str]) -> dict[str, Record]:
        """The records of those identities that there are, by identity, in the order of `ids`."""
        wanted = list(dict.fromkeys(ids))
        clause = "WHERE id IN (SELECT value FROM json_each(?))"
        found = {record.id: record for record in self._select(clause, json.dumps(wanted))}
        return {id: found[id] for id in wanted if id in found}

    def put(self, record: Record) -> Record:
        """Write one record, or replace that of the same id: one transaction, on disk on return.

        A failed record never replaces a finished one, which another coordinator may have stored meanwhile.

        Returns
        -------
        Record
            The one that stands: `record`, or the finished one that was there.
        """
        with self._explained():
            written = self._db.execute(_UPSERT, to_row(record)).rowcount
        return record if written else self.among([record.id])[record.id]

    def records(self) -> list[Record]:
        """All records, in the order in which they were first stored."""
        return list(self._select("ORDER BY rowid"))

    def __len__(self) -> int:
        return int(self._value("SELECT count(*) FROM records"))

    def __contains__(self, id: object) -> bool:
        return bool(self._value("SELECT count(*) FROM records WHERE id = ?", id))

    def frame(self) -> "pd.DataFrame":
        """One row per record, without history; see `surgicalft.sweep.frame.to_frame`."""
        from surgicalft.sweep.frame import to_frame  # pandas is slow to import

        return to_frame(self.records())

    def export(self, path: str | Path) -> None:
        """Write `frame()` to a .csv or .parquet file; ValueError for any other suffix."""
        from surgicalft.sweep.frame import write_frame

        write_frame(self.frame, Path(path))

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _prepare(self) -> None:
        """Look first, write last: a file that isn't ours must stay as it is."""
        application, version, tables = self._header()
        if application == APPLICATION_ID:
            if version > SCHEMA_VERSION:
                raise StoreError(
                    self.path,
                    f"has schema version {version}, from a newer surgicalft; this one reads up to "
                    f"{SCHEMA_VERSION}: upgrade surgicalft or name another file",
                )
            self._value("SELECT count(*) FROM records")
            if version < SCHEMA_VERSION:
                self._upgrade()
        elif version or tables:
            raise StoreError(self.path, "is a SQLite database, but not a store of surgicalft")
        else:
            self._create()
        self._db.execute("PRAGMA synchronous = FULL")  # a stored record outlives a power cut

    def _header(self) -> tuple[int, int, int]:
        """Application, schema version, number of tables: of one moment, since another may be creating it."""
        self._db.execute("BEGIN")
        try:
            application = self._value("PRAGMA application_id")
            version = self._value("PRAGMA user_version")
            return application, version, self._value("SELECT count(*) FROM sqlite_master")
        finally:
            self._db.execute("COMMIT")

    def _create(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("BEGIN IMMEDIATE")  # of two processes that create it, the second waits
        if not self._value("SELECT count(*) FROM sqlite_master"):
            self._db.execute(SCHEMA)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _upgrade(self) -> None:
        """From an earlier schema version; a file that may only be read is refused with the reason."""
        with self._explained():
            self._db.execute(
                "BEGIN IMMEDIATE"
            )  # of two processes that upgrade it, the second waits
            there = self._value("PRAGMA user_version")
            for version in range(there, SCHEMA_VERSION):
                self._db.execute(UPGRADES[version])
            if there < SCHEMA_VERSION:
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._db.execute("COMMIT")

    def _value(self, sql: str, *values: object) -> Any:
        with self._explained():
            return self._db.execute(sql, values).fetchone()[0]

    def _select(self, clause: str, *values: object) -> Iterator[Record]:
        with self._explained():
            rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM records {clause}", values)
            try:
                yield from map(from_row, rows)
            except (TypeError, ValueError) as error:
                raise StoreError(
                    self.path, f"holds a record that can't be read: {error}"
                ) from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:  # a closed store, another thread: a mistake in the program
            raise
        except sqlite3.DatabaseError as error:
            raise StoreError(self.path, self._reason(str(error))) from error

    def _reason(self, message: str) -> str:
        if "is locked" in message:
            who = holders(self.path)
            return f"was locked by another connection for {self.timeout:g} s: {who}"
        return next((why for text, why in _REASONS.items() if text in message), message)
