"""`surgicalft reproduce`: every notebook, and a report of what came out.

surgicalft reproduce                                    the embedded data; what is finished is not run again
surgicalft reproduce --profile cifar --only 03 06       other budgets, some notebooks
surgicalft reproduce --only 03 --set "seeds=[0, 1, 2]"  other parameters
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgicalft.paths import project_dir

if TYPE_CHECKING:
    from surgicalft.notebooks.reproduce import Outcome

NAME = "reproduce"
ABOUT = "execute the notebooks, those that are not finished, and write a report"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgicalft reproduce`."""
    parser.add_argument("--profile", default="", help="a budget: embedded, cifar or paper")
    add_only(parser)
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="replace a parameter's default; every notebook that runs must have it",
    )
    parser.add_argument("--again", action="store_true", help="run also what is finished")
    parser.add_argument(
        "--jobs", type=int, help="notebooks at a time; default: by cores and memory"
    )
    parser.add_argument("--output", type=Path, help="executed copies (results/notebooks)")
    parser.add_argument("--report", type=Path, help="the report's folder (results/report)")
    parser.add_argument("--no-report", action="store_true", help="leave the report as it is")


def add_only(parser: argparse.ArgumentParser) -> None:
    """Which notebooks, from which folder."""
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", action="extend", default=[], help="names or numbers"
    )
    parser.add_argument("--folder", type=Path, default=Path("notebooks"))


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """0, 1 where a notebook failed, 2 where what was asked for makes no sense."""
    from surgicalft.notebooks.plan import assignment, make_plan
    from surgicalft.notebooks.reproduce import default_jobs, reproduce

    output, figures = options.output or project_dir("results", "notebooks"), project_dir("figures")
    try:
        values = dict(assignment(text) for text in options.set)
        plan = make_plan(options.folder, options.only, values, options.profile)
        jobs = default_jobs() if options.jobs is None else options.jobs
        outcomes = []
        for name, why in plan.left_out.items():
            print(f"{name}: left out, {why}")
        for outcome in reproduce(plan.tasks, output, figures, jobs, options.again):
            outcomes.append(outcome)
            _tell(outcome)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    _summary(outcomes, figures)
    if not options.no_report:
        _report(options, output, figures)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _tell(outcome: "Outcome") -> None:
    failed = outcome.status == "failed"
    text = f"{outcome.name}: {outcome.status}, {outcome.about}"
    print(text, file=sys.stderr if failed else sys.stdout, flush=True)


def _summary(outcomes: Sequence["Outcome"], figures: Path) -> None:
    made = [name for outcome in outcomes if outcome.status == "ran" for name in outcome.made]
    print(f"{len(made)} figures and tables made in {figures.absolute()}", *made, sep="\n  ")
    if failed := [outcome.name for outcome in outcomes if outcome.status == "failed"]:
        print(f"{len(failed)} of {len(outcomes)} notebooks failed: {', '.join(failed)}")


def _report(options: argparse.Namespace, output: Path, figures: Path) -> None:
    from surgicalft.site import build_site

    folder = options.report or project_dir("results") / "report"
    print(f"report: {build_site(folder, output, figures, options.folder)}")
