"""`surgicalft data`: what is here, where it is looked for, and whether a copy is whole.

surgicalft data                every scenario: are its data here, where are they looked for, how to get them
surgicalft data check NAME     verify a local copy: counts, shapes, sums
"""

import argparse
import sys
from pathlib import Path

from surgicalft.paths import data_dir
from surgicalft.shifts import families
from surgicalft.shifts.catalogue import DataSet, data_sets, get_data_set

NAME = "data"
ABOUT = "every scenario: are its data here, where are they looked for, how to get them"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgicalft data`."""
    _add_folder(parser)
    actions = parser.add_subparsers(dest="action")
    about = "verify a local copy: counts, shapes, sums"
    check = actions.add_parser("check", help=about, description=about)
    _add_folder(check)
    check.add_argument("name", help="of a data set, as `surgicalft data` gives it")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """0, or 1 where a copy is absent or wrong."""
    try:
        root = data_dir(getattr(options, "data_dir", None))
        chosen = get_data_set(options.name) if options.action == "check" else None
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if chosen is not None:
        return _check(chosen, root)
    print("\n".join(listing(root)))
    return 0


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=argparse.SUPPRESS,  # else the inner parser's default would replace what was given
        help="the data folder, instead of the environment's SURGICALFT_DATA",
    )


def listing(root: Path | None) -> list[str]:
    """A paragraph per family of scenarios: what it is made of, whether that is there, how to get it."""
    lines = [f"data folder: {root or 'none; set SURGICALFT_DATA or --data-dir'}"]
    for family in families():
        needed = [data_set for data_set in data_sets() if family in data_set.scenarios]
        absent = [data_set for data_set in needed if not data_set.found(root)]
        lines.append(f"{'  ' if absent else '✓ '}{family}")
        lines += [f"      {_place(data_set, root)}" for data_set in needed]
        lines += [] if needed else ["      embedded: made on the spot"]
    return lines


def _place(data_set: DataSet, root: Path | None) -> str:
    found = data_set.found(root)
    return f"{data_set.name}: {found or _wanted(data_set)}"


def _wanted(data_set: DataSet) -> str:
    places = " or ".join(data_set.places)
    return f"no {places} ({data_set.size}; get it from {data_set.publisher})"


def _check(data_set: DataSet, root: Path | None) -> int:
    try:
        if not data_set.found(root):  # a check downloads nothing
            raise FileNotFoundError(f"{_wanted(data_set)} in {root or 'any data folder'}")
        facts = data_set.check(root)
    except (FileNotFoundError, ValueError) as error:
        print(f"{data_set.name}: {error}", file=sys.stderr)
        return 1
    print("\n".join((f"{data_set.name}: as its publisher describes it", *facts)))
    return 0
