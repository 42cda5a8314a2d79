"""What the README shows works as it stands."""

import re
from pathlib import Path
from typing import Any

from surgicalft.shifts.catalogue import catalogue_table, get_data_set

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_lines_of_python_run():
    names: dict[str, Any] = {}  # a later block goes on with what an earlier one made
    found = [_run(code, names) for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL)]
    surgical, method, streams, theory = found
    assert 0 <= surgical["tuned"].test_accuracy <= 100
    assert len(method["tuned"].history[0]["rates"]) == len(list(method["model"].parameters()))
    assert len(streams["logits"]) == 10
    assert theory["outcome"].holds.mean() > 0.9


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
