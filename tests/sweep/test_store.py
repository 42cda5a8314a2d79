"""The results store: what goes in comes out, and what goes wrong is said and loses nothing."""

import dataclasses
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from surgicalft.sweep.record import COLUMNS, from_row, to_row
from surgicalft.sweep.store import APPLICATION_ID, SCHEMA_VERSION, Record, Store, StoreError

ROOT = Path(__file__).parents[2]
FULL = Record(
    id="0123456789abcdef",
    settings={"scenario": "glyphs-c/fog", "seed": 0, "pretrain": {"epochs": 3}},
    status="finished",
    history=[{"train_loss": 0.1 + 0.2, "valid_accuracy": 50.0}],
    epoch=0,
    valid_accuracy=100 / 3,
    valid_loss=5e-324,
    test_accuracy=0.0,
    n_test=0,
    provenance="drawn",
    device="cpu",
    wall_time=1.5,
    versions={"torch": "2"},
    created="2026-01-01T00:00:00+00:00",
    metrics={"worst_group": 12.5},
)
SCHEMA_1 = """CREATE TABLE records (
    id TEXT PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL,
    history TEXT NOT NULL, epoch INTEGER, valid_accuracy REAL, valid_loss REAL, test_accuracy REAL,
    n_test INTEGER, provenance TEXT NOT NULL, device TEXT NOT NULL, wall_time REAL NOT NULL,
    versions TEXT NOT NULL, created TEXT NOT NULL)"""
# A child process starts at once: the package's own __init__, which imports every network, is left out.
CHILD = f"""
import sys, types
package = types.ModuleType("surgicalft")
package.__path__ = [{str(ROOT / "surgicalft")!r}]
sys.modules["surgicalft"] = package
from surgicalft.sweep.store import Record, Store, StoreError
def record(i):
    return Record(f"run{{i}}", {{"seed": i}}, "finished", history=[{{"note": "x" * 2000}}])
"""


def record(i: int, **changes: object) -> Record:
    return dataclasses.replace(FULL, id=f"run{i}", settings={"seed": i}, **changes)


def same(a: object, b: object) -> bool:
    """Equality in which NaN equals NaN."""
    return repr(a) == repr(b)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of which permissions hold, which they don't for root."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), os.geteuid() == 0
        folder.chmod(0o755)
        yield folder
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def drop_root() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_a_record_comes_back_as_it_was(path: Path) -> None:
    with Store(path) as store:
        store.put(FULL)
        assert store.get(FULL.id) == FULL
    with Store(path) as again:
        assert again.records() == [FULL]
        assert FULL.id in again and "other" not in again and len(again) == 1
        assert again.get("other") is None


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("store") / "one.sqlite") as store:
        yield store


numbers = st.floats().map(lambda x: x + 0.0)  # SQLite knows no negative zero


@hypothesis_settings(max_examples=60, deadline=None)
@given(loss=numbers, accuracy=st.none() | numbers, text=st.text(alphabet="é\0'\"\n;漢"))
def test_every_float_and_text_survives(
    one_store: Store, loss: float, accuracy: float | None, text: str
) -> None:
    history = [{"train_loss": loss, "by_block": {"block 1": [loss, 1, None]}}]
    before = record(0, history=history, valid_loss=loss, test_accuracy=accuracy, error=text)
    one_store.put(before)
    assert same(one_store.get("run0"), before)


def test_a_diverged_history_is_plain_json_in_the_file(path: Path) -> None:
    history = [{"train_loss": value} for value in (math.nan, math.inf, -math.inf, 1.0)]
    with Store(path) as store:
        store.put(record(0, history=history, valid_loss=math.nan, status="failed"))
        assert same(store.records()[0].history, history)
    with sqlite3.connect(path) as db:  # SQLite's own JSON reader refuses a bare NaN
        row = db.execute(
            "SELECT history ->> '$[0].train_loss', history ->> '$[3].train_loss', valid_loss "
            "FROM records"
        )
        assert row.fetchone() == ("NaN", 1.0, "NaN")
    db.close()


def test_scalars_of_numpy_and_torch_become_numbers() -> None:
    values = {"a": np.float32(0.1), "b": torch.tensor(2), "c": np.float32("nan")}
    odd = record(0, history=[values], epoch=np.int64(3), valid_accuracy=torch.tensor(50.0))
    back = from_row(to_row(odd))
    assert same(back.history, [{"a": float(np.float32(0.1)), "b": 2, "c": math.nan}])
    assert same((back.epoch, back.valid_accuracy), (3, 50.0))


def test_metrics_that_are_not_finite_stay_and_so_does_the_accuracy(path: Path) -> None:
    metrics = {"worst_group": math.nan, "loss": -math.inf, "gain": math.inf, "cost": 2.0}
    with Store(path) as store:
        store.put(record(0, metrics=metrics, test_accuracy=90.0))
        store.put(record(1, metrics={"worst_group": np.float32(0.5)}))
        found, other = store.records()
        frame = store.frame()
    assert found.test_accuracy == 90.0 and same(found.metrics, metrics)
    assert other.metrics == {"worst_group": 0.5}
    assert same(frame["metrics.worst_group"].tolist(), [math.nan, 0.5])
    with sqlite3.connect(path) as db:
        query = "SELECT metrics ->> '$.worst_group', metrics ->> '$.cost' FROM records"
        assert db.execute(query).fetchone() == ("NaN", 2.0)
    db.close()


def test_a_folder_whose_name_is_not_utf8_is_told(path: Path) -> None:
    with Store(path) as store:
        store.put(record(0, provenance="/data/\udcff"))
        assert store.records()[0].provenance == "/data/\\udcff"


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 2**63},
        {"n_test": -(2**70)},
        {"metrics": {"weights": torch.zeros(3)}},
        {"settings": {"rate": math.nan}},
        {"settings": {"rate": object()}},
        {"history": [{"weights": torch.zeros(3)}]},
        {"epoch": 1.5},
        {"valid_accuracy": "high"},
        {"device": torch.device("cpu")},
    ],
)
def test_what_a_row_cannot_hold_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        to_row(dataclasses.replace(FULL, **changes))


def test_an_unknown_status_names_the_legal_ones() -> None:
    with pytest.raises(ValueError, match=r"finished.*failed.*'done'"):
        record(0, status="done")


def test_put_replaces_and_order_is_that_of_first_storing(path: Path) -> None:
    with Store(path) as store:
        for i in (2, 0, 1):
            store.put(record(i))
        store.put(record(2, epoch=7))
        assert [r.id for r in store.records()] == ["run2", "run0", "run1"]
        assert [r.epoch for r in store.records()] == [7, 0, 0]


FAILED = {"status": "failed", "error": "MemoryError: ", "test_accuracy": None}


def test_a_failed_record_never_replaces_a_finished_one(path: Path) -> None:
    """Two coordinators asked for the same run; what one of them finished is not lost by the other's failure."""
    finished, failed = record(0), record(0, **FAILED)
    with Store(path) as one, Store(path) as other:
        assert one.put(failed) == failed and other.get("run0") == failed
        assert other.put(finished) == finished  # a second try that succeeds counts
        assert one.put(failed) == finished  # which of them stands
        assert one.records() == other.records() == [finished]
        assert one.put(record(0, epoch=7)).epoch == 7  # computed anew
        assert other.put(record(1, **FAILED)) == one.get("run1")
        again = record(1, **{**FAILED, "error": "OSError: "})
        assert other.put(again) == again == one.get("run1")  # the latest failure


def test_coordinators_in_a_race_lose_no_finished_record(path: Path) -> None:
    """Each of two threads, with stores of their own, puts every run, and half of them fail in each."""
    Store(path).close()
    stands: dict[int, list[Record]] = {0: [], 1: []}

    def coordinate(who: int) -> None:
        with Store(path) as store:
            for i in range(60):
                stands[who].append(store.put(record(i, **(FAILED if i % 2 == who else {}))))

    threads = [threading.Thread(target=coordinate, args=(who,)) for who in stands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store(path) as store:
        assert [r.status for r in store.records()] == ["finished"] * 60
    for who, found in stands.items():
        assert [r.id for r in found] == [f"run{i}" for i in range(60)]
        assert all(r.status == "finished" for i, r in enumerate(found) if i % 2 != who)


def test_columns_are_the_fields_of_the_record(path: Path) -> None:
    with Store(path), sqlite3.connect(path) as db:
        assert tuple(row[1] for row in db.execute("PRAGMA table_info(records)")) == COLUMNS
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_folders_are_made_and_odd_names_are_names(tmp_path: Path) -> None:
    path = tmp_path / "new" / "100%?mode=memory#é.sqlite"
    with Store(path) as store:
        store.put(FULL)
    assert path.is_file()
    assert len(Store(path)) == 1


def test_another_thread_may_not_use_it(path: Path) -> None:
    errors: list[BaseException] = []

    def use(store: Store) -> None:
        try:
            store.put(FULL)
        except sqlite3.ProgrammingError as error:
            errors.append(error)

    with Store(path) as store:
        thread = threading.Thread(target=use, args=(store,))
        thread.start()
        thread.join()
        assert len(errors) == 1 and len(store) == 0


# What goes wrong with the file


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def refused(path: Path, match: str) -> None:
    before = contents(path)
    with pytest.raises(StoreError, match=match) as caught:
        Store(path)
    assert caught.value.path == path and str(path) in str(caught.value) and caught.value.reason
    assert contents(path) == before


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_store(path: Path, part: float) -> None:
    with Store(path) as store:
        for i in range(100):
            store.put(record(i, history=[{"note": "x" * 500}]))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    refused(path, "damaged")


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("seed,accuracy\n0,50\n" * 100)
    refused(path, "not a store")


def test_the_database_of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    refused(path, "not a store of surgicalft")


def test_a_store_from_a_newer_version(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    refused(path, f"version {SCHEMA_VERSION + 1}.*newer.*{SCHEMA_VERSION}")


def test_a_header_without_its_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.close()
    refused(path, "no such table")


def test_a_folder_or_a_path_through_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder can't be made"):
        Store(tmp_path / "file" / "results.sqlite")


def old_store(path: Path) -> None:
    """As the first version of this package wrote it, with one record."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(SCHEMA_1)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        marks = ", ".join("?" * (len(COLUMNS) - 2))  # neither metrics nor reuse
        db.execute(f"INSERT INTO records VALUES ({marks})", to_row(FULL)[:-2])


def test_a_store_of_the_first_version_is_upgraded_and_keeps_its_records(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    old_store(path)
    without = dataclasses.replace(FULL, metrics={})
    for _ in range(2):  # upgraded, then found to be new
        with Store(path) as store:
            assert store.records() == [without]
    with Store(path) as store:
        store.put(FULL)
        assert store.get(FULL.id) == FULL


def test_two_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    old_store(path)
    code = CHILD + f"print(len(Store({str(path)!r})))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, text=True) for _ in range(2)]
    assert [child.communicate()[0] for child in both] == ["1\n"] * 2


@pytest.mark.parametrize("live", [False, True], ids=["at rest", "beside its writer"])
def test_a_read_only_store_can_be_read(ordinary_user: Path, live: bool) -> None:
    path = ordinary_user / "results.sqlite"
    writer = Store(path)
    writer.put(FULL)
    if not live:
        writer.close()
    for file in ordinary_user.iterdir():
        file.chmod(0o444)
    ordinary_user.chmod(0o555)
    drop_root()
    with Store(path) as store:
        assert store.records() == [FULL]
        with pytest.raises(StoreError, match="read-only"):
            store.put(record(1))
    writer.close()


def test_a_folder_where_nothing_may_be_made(ordinary_user: Path) -> None:
    ordinary_user.chmod(0o555)
    drop_root()
    with pytest.raises(StoreError, match="can't be opened"):
        Store(ordinary_user / "results.sqlite")


def test_a_full_database(path: Path) -> None:
    stored = []
    with Store(path) as store:
        store._db.execute("PRAGMA max_page_count = 40")
        with pytest.raises(StoreError, match=r"disk is full.*lost") as caught:
            for i in range(1000):
                store.put(record(i, history=[{"note": "x" * 2000}]))
                stored.append(f"run{i}")
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert len(stored) > 10 and [r.id for r in store.records()] == stored
        store._db.execute("PRAGMA max_page_count = 1000")  # space is found, and it goes on
        store.put(record(len(stored)))
    with Store(path) as again:
        assert len(again) == len(stored) + 1


def test_a_full_disk(tmp_path: Path) -> None:
    """A real file system without space left: its mount is seen by the child process alone."""
    code = """
from pathlib import Path
folder = Path(sys.argv[1])
filler = folder / "filler"
filler.write_bytes(bytes(100_000))
store, n = Store(folder / "results.sqlite"), 0
try:
    while True:
        store.put(record(n))
        n += 1
except StoreError as error:
    assert "disk is full" in str(error), error
store.close()
with Store(folder / "results.sqlite") as again:
    assert [r.id for r in again.records()] == [f"run{i}" for i in range(n)]
    filler.unlink()
    again.put(record(n))
    assert len(again) == n + 1
print("stored", n)
"""
    mount = 'mount -t tmpfs -o size=600k tmpfs "$0" || exit 77; exec "$@"'
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        mount,
        str(tmp_path),
        sys.executable,
        "-c",
        CHILD + code,
    ]
    try:
        done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare on this system")
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"this system lets us mount nothing: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.removeprefix("stored ")) > 5


def test_a_locked_store_says_by_whom(path: Path) -> None:
    code = """
import sqlite3
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""
    with Store(path, timeout=0.1) as store:
        store.put(FULL)
        with subprocess.Popen(
            [sys.executable, "-c", "import sys" + code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None and other.stdout.readline() == "locked\n"
            assert store.get(FULL.id) == FULL  # reading goes on
            with pytest.raises(StoreError, match=r"locked.* 0\.1 s: look for") as caught:
                store.put(record(1))
            if sys.platform == "linux":
                assert re.search(rf"process {other.pid} \(.*python", caught.value.reason)
            other.communicate("go\n")
        store.put(record(1))
        assert len(store) == 2


@pytest.mark.parametrize("after", [1, 7, 40])
def test_killed_while_writing(path: Path, after: int) -> None:
    code = """
with Store(sys.argv[1]) as store:
    for i in range(100_000):
        store.put(record(i))
        print(f"run{i}", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        reported = [child.stdout.readline().strip() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        reported += child.stdout.read().split()
        assert child.wait() == -signal.SIGKILL
    with Store(path) as store:
        ids = [r.id for r in store.records()]
        assert set(reported) <= set(ids) and len(ids) - len(reported) <= 1
        assert store._value("PRAGMA integrity_check") == "ok"
        store.put(record(0))


def test_two_processes_may_create_it_at_once(path: Path) -> None:
    code = "with Store(sys.argv[1]) as store: store.put(record(int(sys.argv[2])))"
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD + code, str(path), str(i)], cwd=ROOT)
        for i in range(4)
    ]
    assert [child.wait() for child in children] == [0] * 4
    with Store(path) as store:
        assert {r.id for r in store.records()} == {f"run{i}" for i in range(4)}
