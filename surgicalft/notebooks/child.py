"""One notebook in a process of its own: `python -m surgicalft.notebooks.child`, started by `reproduce`.

It lives as long as its standard input is open, which the process that started it holds: when that one ends, however it
ends, this one stops its kernel and goes, and leaves nothing that looks finished.
"""

import json
import os
import sys
import threading
from pathlib import Path

import psutil

from surgicalft.notebooks.finished import file_times, key_of, stamp
from surgicalft.notebooks.plan import Task
from surgicalft.notebooks.runner import NotebookError, partial_copy, run_notebook, write_whole

LONGEST = 20_000  # characters of a reason; a pipe that nobody reads yet holds 64 KB


def main() -> int:
    """0 where the notebook given on standard input ran; 1, and the reason on standard output, where it failed."""
    asked = json.loads(sys.stdin.readline())
    task = Task(Path(asked["source"]), asked["values"])
    output, figures = Path(asked["output"]), Path(asked["figures"])
    threading.Thread(target=_end_with_parent, args=(partial_copy(output),), daemon=True).start()
    key, before = key_of(task), file_times(figures / task.name)
    try:
        copy = run_notebook(task.source, output, task.values)
    except NotebookError as error:
        print(str(error)[-LONGEST:])
        return 1
    after = file_times(figures / task.name)
    made = [f"{task.name}/{name}" for name, time in after.items() if before.get(name) != time]
    stamp(copy, key, made)
    write_whole(copy, output)
    return 0


def _end_with_parent(partial: Path) -> None:
    sys.stdin.read()
    for process in psutil.Process().children(recursive=True):
        process.kill()
    partial.unlink(missing_ok=True)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
