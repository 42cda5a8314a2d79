"""What the README shows works as it stands."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from surgicalft.shifts.catalogue import catalogue_table, get_data_set

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
ELSEWHERE = ("dask_jobqueue", "dask_kubernetes")  # need a cluster of their kind


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_lines_of_python_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}  # a later block goes on with what an earlier one made
    here = [code for code in blocks() if not any(package in code for package in ELSEWHERE)]
    own, surgical, method, streams, sweep, table, theory = [_run(code, names) for code in here]
    assert own["result"].recommended in own["result"].table["selection"].tolist()
    assert (tmp_path / "which-block.png").is_file() and (tmp_path / "tuned.safetensors").is_file()
    assert [r.settings["selection"] for r in sweep["records"]] == ["block 1"] * 2 + ["last"] * 2
    assert all(r.status == "finished" for r in sweep["records"])
    assert len(table["means"]) == 2
    assert 0 <= surgical["tuned"].test_accuracy <= 100
    assert len(method["tuned"].history[0]["rates"]) == len(list(method["model"].parameters()))
    assert len(streams["logits"]) == 10
    assert theory["outcome"].holds.mean() > 0.9


def test_what_needs_a_cluster_of_its_own_names_what_there_is():
    """Their last lines are those that ran above, with another address; Slurm's script: tests/sweep/test_slurm.py."""
    names: dict[str, Any] = {}
    here = next(code for code in blocks() if "run_all" in code)
    _run(here.split("execute =")[0], names)
    for code in blocks():
        if any(package in code for package in ELSEWHERE):
            assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
            call = ast.parse(code).body[-1].value
            assert call.func.id == "run_all" and call.keywords[-1].arg == "cluster"
            assert {"Store", "Executor", "runs"} <= names.keys()


def _run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """What ten lines or fewer, imports apart, define."""
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    exec(compile(code, "README.md", "exec"), names)
    return dict(names)


@each_page
def test_every_file_it_links_to_exists(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"(?:\]\(|src=\"|href=\")(?!https?:|#)([^)#\"]+)", text)
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_every_heading_it_links_to_exists(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
        titles = re.findall(r"^#+ (.*)$", (page.parent / (target or page.name)).read_text(), re.M)
        assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


@each_page
def test_every_make_target_it_names_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [t for t in named if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


def test_the_catalogue_is_shown_as_it_is():
    assert catalogue_table() in (ROOT / "docs" / "DATA.md").read_text(encoding="utf-8")


def test_every_data_set_it_names_can_be_checked():
    named = re.findall(r"surgicalft data check (\S+)", README, re.MULTILINE)
    assert named
    for name in named:
        get_data_set(name)
