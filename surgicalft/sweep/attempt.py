"""One run, and the record that it leaves however it ends."""

import logging
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import numpy as np
import torch

from surgicalft.commit import commit
from surgicalft.settings import as_dict, identity
from surgicalft.sweep.record import Record, from_row, to_row
from surgicalft.sweep.store import StoreError

R = TypeVar("R")  # the settings of a run, a frozen dataclass
Execute = Callable[[R], dict[str, Any]]  # what computes a run: see `attempt`
log = logging.getLogger(__name__)


def attempt(run: R, execute: Execute[R]) -> Record:
    """Execute one run; its record as the store will give it back, whether it finished or failed.

    What a run raises makes a failed record, SystemExit too: what a run calls may end so. Only KeyboardInterrupt and a
    StoreError end the sweep.
    """
    known = {"id": identity(run), "settings": as_dict(run), "versions": versions()}
    start = time.perf_counter()
    try:
        return _stamped(start, **known, status="finished", **execute(run))
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        log.info("run %s failed", known["id"], exc_info=True)
        known |= {"status": "failed", "error": _text(error)}
        try:
            return _stamped(start, **known, history=list(getattr(error, "history", ())))
        except Exception:  # a history that can't be stored must not end the sweep
            return _stamped(start, **known)


def failed(run: Any, error: BaseException) -> Record:
    """The record of a run that could not be computed, for a reason outside `execute`."""
    known = {"id": identity(run), "settings": as_dict(run), "versions": versions()}
    return _stamped(time.perf_counter(), **known, status="failed", error=_text(error))


def _stamped(start: float, **known: Any) -> Record:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    record = Record(**known, wall_time=time.perf_counter() - start, created=created)
    return from_row(to_row(record))


def _text(error: BaseException) -> str:
    try:
        message = str(error)
    except (
        Exception
    ) as other:  # the record must tell of the run's error, not end the sweep by its own
        message = f"(its message can't be read: str() raised {type(other).__name__})"
    # SQLite holds UTF-8; a message that quotes an odd file name may not be.
    return f"{type(error).__name__}: {message}".encode("utf-8", "replace").decode()


@cache
def versions() -> dict[str, str]:
    """What computed: Python, PyTorch, NumPy, this package, and the commit of its code (see `commit`)."""
    try:
        own = version("surgicalft")
    except PackageNotFoundError:  # used without being installed
        own = "not installed"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "surgicalft": own,
        "commit": commit(),
    }
