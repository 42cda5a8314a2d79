"""Which commit of the code computed: part of a record's versions, and of no identity.

The commit is named only if the package was imported from a checkout of its own repository. An installed package has
none, even if its folder lies inside another repository, such as that of the project it is used in.
"""

import os
import subprocess
from functools import cache
from pathlib import Path

UNKNOWN = "unknown"
_TIMEOUT = 10.0  # seconds: a slow file system costs the commit, not the run
_PACKAGE = Path(__file__).resolve().parent


@cache  # git is asked once per process
def commit() -> str:
    """The commit that this package was imported from: see `commit_of`."""
    return commit_of(_PACKAGE)


def commit_of(package: Path) -> str:
    """The commit that the checkout of `package` is at.

    Parameters
    ----------
    package : Path
        Folder of a Python package. It must lie at the top of its repository, and be tracked there.

    Returns
    -------
    str
        40 hexadecimal digits. "-dirty" follows if a file of the package was changed or added since; what lies
        beside the package, such as figures that a run writes, does not count. "unknown" if the package is no part
        of such a repository, or if git is missing, does not answer, or refuses to read it.
    """
    root = package.parent
    init = f"{package.name}/__init__.py"
    if _git(root, "ls-files", "--full-name", "--", init) != init:
        return UNKNOWN
    found = _git(root, "rev-parse", "--verify", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", package.name)
    if found is None or changed is None:
        return UNKNOWN
    return f"{found}-dirty" if changed else found


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints about the repository around `folder`; None if it fails."""
    # A hook sets GIT_DIR and the like, which name the repository of whoever called us.
    variables = {name: text for name, text in os.environ.items() if not _elsewhere(name)}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT, env=variables
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _elsewhere(name: str) -> bool:
    return name.startswith("GIT_") and not name.startswith("GIT_CONFIG")
