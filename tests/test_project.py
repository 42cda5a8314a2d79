"""The files around the code agree with one another."""

import ast
import importlib.metadata
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import surgicalft

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch"}
NAMED_BY_NOTHING_ELSE = {"python", "pip"}
# Folders of a developer's machine, spelled so that this file does not contain them.
PRIVATE = re.compile(r"(?<![\w.])/(work|root)/")
MADE = {"results", "build", "dist", "__pycache__"}


def ranges(lines: list[str]) -> dict[str, str]:
    """Canonical package name -> sorted specifier."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        found[CONDA_NAMES.get(name, name)] = str(requirement.specifier)
    return found


def environment() -> dict[str, str]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    plain = [entry for entry in entries if isinstance(entry, str)]
    (nested,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    both = ranges(plain).keys() & ranges(nested).keys()
    assert not both, f"in both parts of environment.yml: {both}"
    return ranges(plain) | ranges(nested)


def files() -> Iterator[Path]:
    """What is, or may come, under version control: not folders that tools make."""
    for folder, inside, names in os.walk(ROOT):
        inside[:] = [name for name in inside if not made_by_a_tool(name)]
        yield from (Path(folder) / name for name in names)


def made_by_a_tool(folder: str) -> bool:
    hidden = folder.startswith(".") and folder != ".ci"
    return folder in MADE or hidden or folder.endswith(".egg-info")


def test_environment_agrees_with_pyproject() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [line for extra in ("robustbench", "lora", "dev") for line in extras[extra]]
    stated = ranges([*PROJECT["dependencies"], *wanted])
    conda = environment()
    assert {name: conda.pop(name) for name in NAMED_BY_NOTHING_ELSE} == {
        "python": PROJECT["requires-python"],
        "pip": "",
    }
    assert conda == stated


def test_core_names_what_users_expect() -> None:
    expected = {
        "torch",
        "torchvision",
        "timm",
        "open-clip-torch",
        "wilds",
        "numpy",
        "scipy",
        "sympy",
    }
    expected |= {"matplotlib", "jupyterlab", "jupytext", "papermill"}
    assert expected <= ranges(PROJECT["dependencies"]).keys()


@pytest.mark.parametrize("package", ["robustbench", "peft"])
def test_core_does_not_need(package: str) -> None:
    assert package not in ranges(PROJECT["dependencies"])


def test_version() -> None:
    assert surgicalft.__version__ == PROJECT["version"]
    assert importlib.metadata.version("surgicalft") == PROJECT["version"]


def test_no_paths_of_a_developers_machine() -> None:
    checked = 0
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        checked += 1
        found = PRIVATE.search(text)
        assert not found, f"{path.relative_to(ROOT)} names {text[found.start() :][:60]!r}"
    assert checked > 50


def test_makefile_has_the_targets_that_are_named() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("CONTRIBUTING.md", "README.md", ".ci/run"):
        text = (ROOT / page).read_text()
        named = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
        assert named, f"{page} names no target"
        assert set(named) <= targets, page


def test_contributing_fits_one_screen() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50


def test_the_two_packages_do_not_know_each_other():
    for package, other in (("theory", "surgicalft"), ("surgicalft", "theory")):
        sources = sorted((ROOT / package).rglob("*.py"))
        assert sources
        for source in sources:
            tree = ast.parse(source.read_text(encoding="utf-8"))
            named = {module.split(".")[0] for node in ast.walk(tree) for module in _modules(node)}
            assert other not in named, source


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
