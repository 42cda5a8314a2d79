"""What the README shows works as it stands."""

import ast
import re
from pathlib import Path
from typing import Any

from surgicalft.shifts.catalogue import catalogue_table, get_data_set

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


ELSEWHERE = ("dask_jobqueue", "dask_kubernetes")  # need a cluster of their kind


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_lines_of_python_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}  # a later block goes on with what an earlier one made
    here = [code for code in blocks() if not any(package in code for package in ELSEWHERE)]
    surgical, method, streams, sweep, table, theory = [_run(code, names) for code in here]
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


def test_every_file_it_links_to_exists():
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_every_make_target_it_names_exists():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"make ([a-z-]+)", README)) - {"sure"}
    assert {"reproduce", "test"} <= targets
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


def test_it_shows_the_catalogue_as_it_is():
    assert catalogue_table() in README


def test_every_data_set_it_names_can_be_checked():
    named = re.findall(r"surgicalft data check (\S+)", README, re.MULTILINE)
    assert named
    for name in named:
        get_data_set(name)
