"""constraints.txt pins all that the Makefile installs, and this environment is what it says."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows"))
(EXTRAS,) = re.findall(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
HERE = {str(name): str(value) for name, value in default_environment().items()}


def direct() -> list[Requirement]:
    extras = [PROJECT["optional-dependencies"][extra] for extra in EXTRAS.split()]
    return [Requirement(line) for line in sum(extras, PROJECT["dependencies"])]


def pins(environment: dict[str, str]) -> dict[str, str]:
    """Canonical name -> version, of those whose markers hold in `environment`."""
    here = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]
    found = {canonicalize_name(pin.name): version(pin) for pin in here}
    assert len(found) == len(here), "two pins of one package hold at once"
    return found


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==" and "*" not in specifier.version, pin
    return specifier.version


def needed(name: str, extras: tuple[str, ...], seen: set[Any]) -> Iterator[str]:
    """What the installed distribution `name` and all that it needs in turn install here: canonical names."""
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        holds = requirement.marker is None or any(
            requirement.marker.evaluate(HERE | {"extra": extra}) for extra in ("", *extras)
        )
        step = (canonicalize_name(requirement.name), tuple(sorted(requirement.extras)))
        if holds and step not in seen:
            seen.add(step)
            yield step[0]
            yield from needed(*step, seen)


@pytest.mark.parametrize("system", SYSTEMS, ids=[name for _, name in SYSTEMS])
@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_has_a_pin_in_its_range(
    python: str, system: tuple[str, str]
) -> None:
    other = {"python_version": python, "python_full_version": f"{python}.9"}
    other |= {"sys_platform": system[0], "platform_system": system[1]}
    there = pins(HERE | other)
    for requirement in direct():
        assert there[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_pins_are_versions_and_nothing_else() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://| @ |^-|--hash", text, re.MULTILINE)
    names = [canonicalize_name(pin.name) for pin in PINS]
    assert "surgicalft" not in names and names == sorted(names)
    assert all(not pin.extras and pin.url is None and version(pin) for pin in PINS)


def test_this_environment_is_the_pinned_one() -> None:
    if not os.environ.get("SURGICALFT_PINS"):
        pytest.skip("SURGICALFT_PINS is not set: not the environment that `make test` installs")
    installed = {
        name: importlib.metadata.version(name)
        for name in needed("surgicalft", tuple(EXTRAS.split()), set())
    }
    pinned = pins(HERE)
    assert len(installed) > 100
    assert installed == {name: pinned.get(name) for name in installed}


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "lowest.py"), *EXTRAS.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = {canonicalize_name(pin.name): pin for pin in map(Requirement, done.stdout.split())}
    assert lines.keys() == {canonicalize_name(requirement.name) for requirement in direct()}
    for requirement in direct():
        lowest = version(lines[canonicalize_name(requirement.name)])
        assert lowest in [s.version for s in requirement.specifier if s.operator in (">=", "==")]
