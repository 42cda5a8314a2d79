"""Every package that the Makefile installs, pinned: what `make constraints` writes to constraints.txt.

`python .ci/constraints.py REPORT EXTRA ...` prints the pins. REPORT is what `pip install --dry-run --report` wrote: the
versions that pip takes here. uv keeps these, and adds, with environment markers, what other Pythons and platforms need
besides or instead. It resolves for them without running there.
"""

import json
import platform
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path("pyproject.toml")
HEADER = """\
# Every package that `make reproduce` and `make test` install. Made by `make constraints`; not edited by hand.
# pip took these on {date} on Python {python}, {system}; uv added, with markers, what Python >= {oldest} on other
# platforms needs besides or instead, which was resolved but not run there. `make PINS= ...` installs without pins.
"""


def resolved(report: Path) -> dict[str, str]:
    """What pip would install: canonical name -> version, without the project itself."""
    items = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    found = {canonicalize_name(item["name"]): item["version"] for item in items}
    return {str(name): version for name, version in found.items() if name != "surgicalft"}


def universal(pins: dict[str, str], extras: list[str], oldest: str) -> list[str]:
    """Sorted lines `name==version` or `name==version ; marker`, which keep `pins` for this Python and platform."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"  # uv prefers what a file already has
        file.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        command = [sys.executable, "-m", "uv", "pip", "compile", str(PROJECT), "--universal"]
        command += ["--python-version", oldest, "--no-annotate", "--no-header", "--quiet"]
        command += [f"--extra={extra}" for extra in extras] + ["--output-file", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = file.read_text().splitlines()
    return sorted(lines, key=lambda line: line.partition("==")[::2])


def applicable(lines: list[str]) -> dict[str, str]:
    """The pins whose markers hold here."""
    every = [Requirement(line) for line in lines]
    here = [pin for pin in every if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).lstrip("=") for pin in here}


def main(report: str, *extras: str) -> None:
    (oldest,) = re.findall(r'^requires-python = ">=([\d.]+)"', PROJECT.read_text(), re.MULTILINE)
    pins = resolved(Path(report))
    lines = universal(pins, list(extras), oldest)
    kept = applicable(lines)
    if other := {name: pin for name, pin in pins.items() if kept.get(name) != pin}:
        sys.exit(f"pip takes {other} here, but uv {[kept.get(name) for name in other]}")
    system = f"{platform.system()} {platform.machine()}"
    about = {"date": date.today(), "python": platform.python_version(), "system": system}
    print(HEADER.format(**about, oldest=oldest) + "\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
