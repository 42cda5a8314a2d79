"""`surgicalft pair`: executes text notebooks with their defaults; the copies that people read go beside them."""

import argparse
import sys
import time

from surgicalft.cli.reproduce import add_only

NAME = "pair"
ABOUT = (
    "execute text notebooks with their defaults, and write the copies that people read beside them"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgicalft pair`."""
    add_only(parser)


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """0, or 1 where a notebook failed."""
    from surgicalft.notebooks import NotebookError, execute_pair
    from surgicalft.notebooks.plan import make_plan

    try:
        tasks = make_plan(options.folder, options.only).tasks
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    failed = 0
    for task in tasks:
        start = time.monotonic()
        try:
            copy = execute_pair(task.source)
            print(f"{task.name}: {time.monotonic() - start:.0f} s, executed copy {copy}")
        except NotebookError as error:
            failed += 1
            print(f"FAILED {error}", file=sys.stderr)
    return 1 if failed else 0
