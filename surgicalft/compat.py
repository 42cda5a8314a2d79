"""Work-arounds for third-party packages, each with its reason; tests/test_compat.py says which are still needed."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def import_robustbench() -> ModuleType:
    """`import robustbench`, which needs the extra `robustbench`.

    robustbench 1.1.1 imports `autoattack`, but its dependency installs the same code as `pyautoattack`. The
    alias makes the import work, for models and data; not the attacks, whose signatures differ.
    """
    try:
        attacks = importlib.import_module("pyautoattack")
        state = importlib.import_module("pyautoattack.state")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "robustbench is not installed: pip install 'surgicalft[robustbench]'", name=error.name
        ) from error
    with _modules({"autoattack": attacks, "autoattack.state": state}):
        return importlib.import_module("robustbench")


def import_wilds() -> ModuleType:
    """`import wilds` without its threads.

    wilds 2.0.0 asks the network for a newer version of itself, in a thread that is no daemon and has no
    time-out, so that a program without a network hangs at its end. It doesn't where `outdated` is missing.
    """
    with _modules({"outdated": None}):
        return importlib.import_module("wilds")


@contextmanager
def _modules(entries: dict[str, ModuleType | None]) -> Iterator[None]:
    """These entries in `sys.modules` for a while; None makes an import fail."""
    before = {name: sys.modules[name] for name in entries if name in sys.modules}
    sys.modules.update(entries)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in entries:
            sys.modules.pop(name)
        sys.modules.update(before)
