"""Which notebooks to run, with which parameters, before anything is run: every mistake in asking shows here."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgicalft.notebooks.parameters import check_values, read_parameters
from surgicalft.notebooks.runner import read_notebook

PROFILE = "profile"


@dataclass(frozen=True)
class Task:
    """A notebook to execute: its text form, and the values that replace defaults of its parameters."""

    source: Path
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """NN_topic, which is also its folder under figures/."""
        return self.source.stem


@dataclass(frozen=True)
class Plan:
    """What to execute, and what is left out, with the reason, by name."""

    tasks: tuple[Task, ...]
    left_out: dict[str, str]


def make_plan(
    folder: Path, only: Sequence[str] = (), values: dict[str, Any] | None = None, profile: str = ""
) -> Plan:
    """The notebooks of `folder`, or those named, each with `values` and with `profile`.

    A notebook that does not know the profile is left out. Raises FileNotFoundError where there is no notebook, and
    ValueError for an unknown name, a profile that none of them knows, and a parameter or value that one doesn't take.
    """
    tasks, left_out, legal = [], {}, set[str]()
    for source in find_notebooks(folder, only):
        parameters = read_parameters(read_notebook(source), source.name)
        given = dict(values or {})
        if profile:
            if given.get(PROFILE, profile) != profile:
                raise ValueError(f"two profiles were asked for: {profile!r}, {given[PROFILE]!r}")
            known = profiles(source) if PROFILE in parameters else []
            legal |= set(known)
            if profile not in known:
                left_out[source.stem] = f"it has no profile {profile!r}, only {known}"
                continue
            given[PROFILE] = profile
        tasks.append(Task(source, check_values(parameters, given, source.name)))
    if not tasks:
        raise ValueError(f"no notebook has the profile {profile!r}; legal: {sorted(legal)}")
    return Plan(tuple(tasks), left_out)


def find_notebooks(folder: Path, only: Sequence[str] = ()) -> list[Path]:
    """The text notebooks NN_topic.py in order; with `only`, those of these names or numbers."""
    sources = sorted(folder.glob("[0-9][0-9]_*.py"))
    if not sources:
        raise FileNotFoundError(f"no notebook NN_topic.py in {folder.absolute()}")
    asked = {name: [s for s in sources if name in (s.stem, s.name, s.stem[:2])] for name in only}
    for name, found in asked.items():
        if not found:
            raise ValueError(f"unknown notebook {name!r}; legal: {[s.stem for s in sources]}")
    return sorted({s for found in asked.values() for s in found}) if only else sources


def profiles(source: Path) -> list[str]:
    """The profiles a notebook knows: its parameter's default, and what the comment beside it has in double quotes."""
    line = re.search(rf"^{PROFILE}\b[^=\n]*=\s*(.*)$", source.read_text(encoding="utf-8"), re.M)
    return re.findall(r'"([^"]+)"', line[1]) if line else []


def assignment(text: str) -> tuple[str, Any]:
    """`name=value`, the value a Python literal or else text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--set must be NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
