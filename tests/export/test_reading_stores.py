"""Reading a store leaves it as it is, whatever its state."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from result_records import by_seed, record

from surgicalft.export import read_records
from surgicalft.sweep.store import SCHEMA_VERSION, Store, StoreError

RECORDS = by_seed([10.0, 20.0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs.sqlite"
    with Store(path) as store:
        for one in RECORDS:
            store.put(one)
    return path


def contents(folder: Path) -> dict[str, str]:
    """Names and sums of all files but SQLite's shared memory, which holds no data."""
    files = [file for file in folder.iterdir() if not file.name.endswith("-shm")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_store_at_rest(path: Path) -> None:
    before = contents(path.parent)
    assert read_records(path) == RECORDS
    assert contents(path.parent) == before
    assert not list(path.parent.glob("*-shm"))


def test_a_store_that_a_sweep_is_writing(path: Path) -> None:
    with Store(path) as store:
        store.put(record(30.0, seed=2))
        before = contents(path.parent)
        assert "runs.sqlite-wal" in before  # what is new is in the log
        assert [one.test_accuracy for one in read_records(path)] == [10.0, 20.0, 30.0]
        assert contents(path.parent) == before
        store.put(record(40.0, seed=3))  # the reader is in nobody's way
        assert len(read_records(path)) == 4


def test_a_missing_store_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.sqlite: is not there"):
        read_records(tmp_path / "below" / "none.sqlite")
    assert not list(tmp_path.iterdir())


def _newer(path: Path) -> None:
    _execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def _foreign(path: Path) -> None:
    _execute(path, "PRAGMA application_id = 7")


def _execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


def _overwrite(path: Path, start: int, junk: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + len(junk)] = junk
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_newer, f"schema version {SCHEMA_VERSION + 1}, from a newer surgicalft"),
        (_foreign, "not a store of surgicalft"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged or truncated"),
        (lambda path: path.write_bytes(b""), "damaged or truncated"),
        (lambda path: path.write_text("id,accuracy\n" * 1000), "is not a store"),
        (lambda path: _overwrite(path, 100, b"\xff" * 3000), "damaged or truncated"),
    ],
)
def test_what_cant_be_read_is_named_and_left_as_it_is(path: Path, harm, reason: str) -> None:
    harm(path)
    before = contents(path.parent)
    with pytest.raises(StoreError, match=reason) as caught:
        read_records(path)
    assert caught.value.path == path
    assert contents(path.parent) == before


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        read_records(tmp_path)


def test_a_locked_store(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("UPDATE records SET error = 'x'")
        with pytest.raises(StoreError, match=r"was locked by another connection for 0\.1 s: look"):
            read_records(path, timeout=0.1)
        db.execute("ROLLBACK")
    assert read_records(path) == RECORDS


def test_a_store_of_the_first_version_is_read_but_not_upgraded(path: Path) -> None:
    _execute(path, "ALTER TABLE records DROP COLUMN metrics")
    _execute(path, "ALTER TABLE records DROP COLUMN reuse")
    _execute(path, "PRAGMA user_version = 1")
    before = contents(path.parent)
    assert read_records(path) == RECORDS
    assert contents(path.parent) == before
