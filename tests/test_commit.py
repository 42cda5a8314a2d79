"""A record names the commit of the code that computed it, and never that of another repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import surgicalft
from surgicalft import commit as module
from surgicalft.commit import UNKNOWN, commit, commit_of
from surgicalft.settings import identity
from surgicalft.sweep.attempt import attempt, versions
from surgicalft.sweep.measure import Trial

WHO = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


@pytest.fixture(autouse=True)
def without_variables_of_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's variables name another repository if a hook runs the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *WHO, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def package(root: Path) -> Path:
    folder = root / "surgicalft"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    return folder


def repository(root: Path) -> str:
    """The commit of all that `root` holds."""
    git(root, "init", "--quiet")
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "all")
    return git(root, "rev-parse", "HEAD")


def test_a_checkout_has_the_commit_that_it_is_at(tmp_path: Path) -> None:
    folder = package(tmp_path)
    first = repository(tmp_path)
    assert commit_of(folder) == first and len(first) == 40
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "next")
    assert commit_of(folder) == git(tmp_path, "rev-parse", "HEAD") != first


def test_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path / "ours")
    first = repository(tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    assert repository(tmp_path / "theirs") != first
    monkeypatch.chdir(tmp_path / "theirs")
    assert commit_of(folder) == first
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs" / ".git"))  # as in a hook of theirs
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "theirs"))
    assert commit_of(folder) == first


@pytest.mark.parametrize("name", ["__init__.py", "new.py", "sub/new.py"])
def test_changed_code_is_dirty(tmp_path: Path, name: str) -> None:
    folder = package(tmp_path)
    first = repository(tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("changed = True\n")
    assert commit_of(folder) == f"{first}-dirty"
    git(tmp_path, "add", "--all")
    assert commit_of(folder) == f"{first}-dirty"


def test_removed_code_is_dirty(tmp_path: Path) -> None:
    folder = package(tmp_path)
    (folder / "more.py").write_text("")
    first = repository(tmp_path)
    (folder / "more.py").unlink()
    assert commit_of(folder) == f"{first}-dirty"


def test_what_a_run_writes_is_no_change_of_the_code(tmp_path: Path) -> None:
    folder = package(tmp_path)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    (tmp_path / "table.md").write_text("old")
    first = repository(tmp_path)
    (tmp_path / "table.md").write_text("new")
    (tmp_path / "more.md").write_text("new")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "__init__.pyc").write_text("")
    assert commit_of(folder) == first


def test_a_folder_without_git(tmp_path: Path) -> None:
    assert commit_of(package(tmp_path)) == UNKNOWN


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    folder = package(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    assert commit_of(folder) == UNKNOWN


SITE = ".venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("where", "tracked"),
    [
        (SITE, False),
        (SITE, True),  # a virtual environment that they keep in their repository
        (".", False),  # after `pip install --target .`
    ],
)
def test_an_installed_package_in_someone_elses_repository(
    tmp_path: Path, where: str, tracked: bool
) -> None:
    (tmp_path / "theirs.py").write_text("")
    repository(tmp_path)
    folder = package(tmp_path / where)
    if tracked:
        repository(tmp_path)
    assert commit_of(folder) == UNKNOWN


def test_no_git_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path / "ours")
    repository(tmp_path / "ours")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(folder) == UNKNOWN


def test_git_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path / "ours")
    repository(tmp_path / "ours")
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 30\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "_TIMEOUT", 0.1)
    assert commit_of(folder) == UNKNOWN


def test_a_repository_that_git_refuses_to_read(tmp_path: Path) -> None:
    folder = package(tmp_path)
    repository(tmp_path)
    (tmp_path / ".git" / "config").write_text("[core\n")
    assert commit_of(folder) == UNKNOWN


def test_git_is_asked_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module, "commit_of", lambda folder: asked.append(folder) or "c" * 40)
    commit.cache_clear()
    versions.cache_clear()
    try:
        records = [attempt(Trial(seed), lambda run: {}) for seed in range(3)]
    finally:
        commit.cache_clear()
        versions.cache_clear()
    assert [record.versions["commit"] for record in records] == ["c" * 40] * 3
    assert asked == [Path(surgicalft.__file__).resolve().parent]
    assert [record.id for record in records] == [identity(Trial(seed)) for seed in range(3)]


def test_a_program_elsewhere_gets_the_commit_of_this_code(tmp_path: Path) -> None:
    """As Dask's workers and notebooks' kernels do: other processes, with another working directory."""
    repository(tmp_path)
    command = [sys.executable, "-c", "from surgicalft.commit import commit; print(commit())"]
    path = {"PYTHONPATH": str(Path(surgicalft.__file__).resolve().parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | path, capture_output=True, text=True, check=True
    )
    # A file of the package may be edited while its tests run.
    assert done.stdout.strip().removesuffix("-dirty") == commit().removesuffix("-dirty")
