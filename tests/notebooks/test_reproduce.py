"""Notebooks run side by side, each in a process: what fails, what is kept, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from made import write

from surgicalft import cli
from surgicalft.notebooks.finished import is_finished, key_of, read_stamp
from surgicalft.notebooks.plan import Task
from surgicalft.notebooks.reproduce import default_jobs, reproduce

GOOD = """from pathlib import Path
Path('figures/{0}').mkdir(parents=True, exist_ok=True)
Path('figures/{0}/x.csv').write_text(str(n))"""
QUIET = ["--no-report"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three notebooks; the second fails."""
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").touch()
    for name in ("01_good", "03_good"):
        write(root / "notebooks", f"{name}.py", "n: int = 0", GOOD.format(name))
    write(
        root / "notebooks",
        "02_bad.py",
        "n: int = 0",
        "import sys\nprint('a warning', file=sys.stderr)\nraise OSError('no luck')",
    )
    return root


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def go(*arguments):
    return cli.main(["reproduce", *QUIET, *arguments])


def test_in_parallel_one_fails_and_the_others_go_on(here, capsys):
    assert go("--jobs", "3") == 1
    out, err = capsys.readouterr()
    assert "02_bad: failed" in err and "02_bad.py failed in code cell 2 (`import sys`)" in err
    assert "OSError: no luck" in err and "1 of 3 notebooks failed: 02_bad" in out
    assert "01_good: ran" in out and "03_good: ran" in out
    assert "2 figures and tables made" in out and "\n  01_good/x.csv" in out
    made = {path.name for path in (here / "results/notebooks").iterdir()}
    copies = {"01_good.ipynb", "02_bad.failed.ipynb", "03_good.ipynb"}
    assert made == copies | {"01_good.log", "02_bad.log", "03_good.log"}
    assert "a warning" in (here / "results/notebooks/02_bad.log").read_text()


def test_what_is_finished_is_kept_until_something_changes(here, capsys):
    only = ["--only", "01", "--jobs", "1"]
    assert go(*only) == 0
    assert "01_good: kept, finished 20" in capsys.readouterr().out
    assert go(*only, "--set", "n=5") == 0  # another parameter
    assert "01_good: ran" in capsys.readouterr().out
    assert (here / "figures/01_good/x.csv").read_text() == "5"
    (here / "figures/01_good/x.csv").unlink()  # what it made is gone
    assert go(*only, "--set", "n=5") == 0
    assert "01_good: ran" in capsys.readouterr().out
    assert go(*only, "--set", "n=5", "--again") == 0
    assert "01_good: ran" in capsys.readouterr().out


def test_a_key_changes_with_what_decides_the_outcome(tmp_path):
    source = write(tmp_path, "01_a.py", "n: int = 0", "n")
    key = key_of(Task(source, {"n": 1}))
    assert key == key_of(Task(source, {"n": 1})) != key_of(Task(source, {"n": 2}))
    source.write_text(source.read_text() + "\n# more\n")
    assert key_of(Task(source, {"n": 1})) != key


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", '{"cells": ['])
def test_a_broken_copy_is_not_finished(tmp_path, text):
    copy = tmp_path / "01_a.ipynb"
    copy.write_text(text)
    assert read_stamp(copy) is None
    assert not is_finished(copy, "key", tmp_path)
    nbformat.write(nbformat.v4.new_notebook(), copy)  # whole, but from elsewhere
    assert not is_finished(copy, "key", tmp_path)


@pytest.mark.parametrize(
    "stop",
    [
        signal.SIGKILL,
        *(pytest.param(s, marks=pytest.mark.slow) for s in (signal.SIGTERM, signal.SIGINT)),
    ],
)
def test_a_stop_leaves_no_process_and_nothing_that_looks_finished(tmp_path, stop):
    (tmp_path / "pyproject.toml").touch()
    sleeper = "import os\nfrom pathlib import Path\nPath('pid').write_text(f'{os.getpid()} ')\n"
    write(tmp_path / "notebooks", "01_a.py", "n: int = 0", sleeper + "import time; time.sleep(600)")
    command = [sys.executable, "-m", "surgicalft", "reproduce", *QUIET, "--jobs", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    pid = _waited_for(lambda: (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else "")
    family = [psutil.Process(int(pid)), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(stop)
    process.wait(30)
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert list((tmp_path / "results/notebooks").iterdir()) == []


def _waited_for(found):
    end = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def test_a_process_that_is_killed_is_a_failure_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write(
        tmp_path, "01_a.py", "n: int = 0", "import os\nos.kill(os.getppid(), 9)\nos._exit(0)"
    )
    (outcome,) = reproduce([Task(source, {})], tmp_path / "out", tmp_path / "figures")
    assert outcome.status == "failed" and "its process ended with -9" in outcome.about


def test_default_jobs(monkeypatch):
    for cores, memory, expected in ((2, 1e12, 2), (16, 1e12, 16), (16, 6.5e9, 2), (1, 1e8, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        free = type("Memory", (), {"available": memory})
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: free)
        assert default_jobs() == expected


def test_the_copy_says_what_it_is(here):
    assert go("--only", "03", "--jobs", "1") == 0
    copy = here / "results/notebooks/03_good.ipynb"
    noted = json.loads(copy.read_text())["metadata"]
    assert noted["surgicalft"]["made"] == ["03_good/x.csv"]
    assert noted["papermill"]["output_path"] == "03_good.ipynb"
