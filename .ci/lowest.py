"""The lowest version of every direct dependency, as constraints for pip: what `make test-oldest` installs.

`python .ci/lowest.py EXTRA ...` prints them. The package must be installed, for its metadata say what it needs.
"""

import importlib.metadata
import sys

from packaging.requirements import Requirement


def lowest(line: str) -> str:
    """`name>=1.2,<2` -> `name==1.2`; exits if there is no lower bound."""
    requirement = Requirement(line)
    bounds = [s.version for s in requirement.specifier if s.operator in (">=", "==")]
    if len(bounds) != 1:
        sys.exit(f"{line!r} needs one lower bound, >= or ==, for its oldest version to be tested")
    return f"{requirement.name}=={bounds[0]}"


def wanted(line: str, extras: list[str]) -> bool:
    """Whether the package needs this, here and with these extras."""
    marker = Requirement(line).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras])


if __name__ == "__main__":
    lines = importlib.metadata.requires("surgicalft") or []
    print(*sorted(lowest(line) for line in lines if wanted(line, sys.argv[1:])), sep="\n")
