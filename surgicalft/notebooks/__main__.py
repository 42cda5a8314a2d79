"""`python -m surgicalft.notebooks reproduce`: all notebooks, as `make reproduce` and `make notebooks` run them."""

import argparse
import ast
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from surgicalft.notebooks.pairs import execute_pair
from surgicalft.notebooks.parameters import check_values, read_parameters
from surgicalft.notebooks.runner import NotebookError, read_notebook, run_notebook


def main(argv: Sequence[str] | None = None) -> int:
    """0 where every notebook ran, 1 where one failed, 2 where the command or a parameter is wrong."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        values = dict(_assignment(text) for text in options.set)
        sources = find_notebooks(options.folder, options.only)
        for source in sources:  # a wrong parameter shows before minutes are spent
            check_values(read_parameters(read_notebook(source), source.name), values, source.name)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    with _listing_new_files(options.figures):
        failed = [source.stem for source in sources if not _ran(source, values, options)]
    if failed:
        print(f"{len(failed)} of {len(sources)} notebooks failed: {', '.join(failed)}")
    return 1 if failed else 0


def find_notebooks(folder: Path, only: str | None = None) -> list[Path]:
    """The text notebooks NN_topic.py in order; with `only`, the one of that name or number."""
    sources = sorted(folder.glob("[0-9][0-9]_*.py"))
    if not sources:
        raise FileNotFoundError(f"no notebook NN_topic.py in {folder.absolute()}")
    chosen = [s for s in sources if only is None or only in (s.stem, s.name, s.stem[:2])]
    if not chosen:
        raise ValueError(f"unknown notebook {only!r}; legal: {[s.stem for s in sources]}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m surgicalft.notebooks", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    reproduce = actions.add_parser(
        "reproduce", help="execute copies, with other parameters if asked"
    )
    reproduce.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="replace a parameter"
    )
    reproduce.add_argument("--output", type=Path, default=Path("results/notebooks"))
    pair = actions.add_parser(
        "pair", help="execute with the defaults; copies go beside the sources"
    )
    pair.set_defaults(set=[])
    for action in (reproduce, pair):
        action.add_argument("--only", metavar="NAME", help="one notebook, by name or number")
        action.add_argument("--folder", type=Path, default=Path("notebooks"))
        action.add_argument("--figures", type=Path, default=Path("figures"))
    return parser


def _assignment(text: str) -> tuple[str, Any]:
    """`name=value`, the value a Python literal or else text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--set must be NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _ran(source: Path, values: dict[str, Any], options: argparse.Namespace) -> bool:
    start = time.monotonic()
    try:
        if options.action == "pair":
            output = execute_pair(source)
        else:
            output = options.output / f"{source.stem}.ipynb"
            run_notebook(source, output, values)
    except NotebookError as error:
        print(f"FAILED {error}", file=sys.stderr)
        return False
    print(f"{source.stem}: {time.monotonic() - start:.0f} s, executed copy {output}")
    return True


@contextmanager
def _listing_new_files(folder: Path) -> Iterator[None]:
    before = _times(folder)
    yield
    made = [path for path, changed in _times(folder).items() if before.get(path) != changed]
    print(f"{len(made)} figures and tables made in {folder.absolute()}", *made, sep="\n  ")


def _times(folder: Path) -> dict[Path, int]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files}


if __name__ == "__main__":
    sys.exit(main())
