"""`surgicalft results`: what sweeps left in a store, filtered, averaged, and as files to hand on.

surgicalft results                                             every run: the settings that differ, and the accuracy
surgicalft results --where n_tune=200 'selection=last|all'     those that meet conditions
surgicalft results --choose target_valid --mean                the chosen learning rate's mean over seeds
surgicalft results ... --rows scenario --columns-by selection  the same as a table to read
surgicalft results ... --to table.tex                          and as a file: .csv .parquet .json .md .tex
surgicalft results --mlflow http://localhost:5000              runs as runs of MLflow
"""

import argparse
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgicalft.sweep.rules import RULES

if TYPE_CHECKING:
    import pandas as pd

    from surgicalft.export.pivot import Pivot
    from surgicalft.sweep.record import Record

NAME = "results"
ABOUT = "what sweeps left in a store: filter, average, choose, and export to files, LaTeX or MLflow"
STORE = "results/runs.sqlite"
CONDITIONS = (
    "NAME=VALUE; also != < <= > >=, ~ for a pattern with * and ?, =a|b for either, NAME= for none"
)
FEW = 40  # rows


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgicalft results`."""
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    names = {**several, "metavar": "NAME"}
    option = parser.add_argument
    option("--store", type=Path, default=Path(STORE), help="default: %(default)s")
    option("--where", **several, metavar="CONDITION", help=CONDITIONS)
    option("--failed", action="store_true", help="only failed runs, with their errors")
    option("--columns", **names, help="what to show; patterns: 'pretrain.*', '*' for all")
    option("--sort", **names, help="columns to sort by")
    option("--descending", action="store_true", help="sort from high to low")
    option("--limit", type=_count, help=f"rows, 0 for all; default: {FEW} on a terminal, else all")
    option = parser.add_argument_group("means").add_argument
    option(
        "--choose",
        choices=list(RULES),
        help="of each selection's learning rates; oracle reads test data",
    )
    option("--mean", nargs="*", metavar="NAME", help="over seeds, or over the settings named")
    option("--metric", help="what to average; default: test_accuracy")
    option("--rows", **names, help="settings down, in a table to read; implies --mean")
    option("--columns-by", metavar="NAME", help="the setting across; implies --mean")
    option("--best", default="highest", help="which to mark: highest (the default), lowest or none")
    option("--compare", **names, help="what it is the best of; default: selection, method")
    option = parser.add_argument_group("to hand on").add_argument
    option("--to", type=Path, metavar="FILE", help=".csv, .parquet, .json, .md or .tex (means)")
    option("--caption", default="", help="what the .tex table shows")
    option("--label", default="tab:results", help="of the .tex table; default: %(default)s")
    option("--mlflow", metavar="URI", help="make each run one of MLflow; needs the extra mlflow")
    option("--experiment", default="surgicalft", help="of MLflow; default: %(default)s")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """0, or 1 where MLflow does not take the runs; a wrong command or an unreadable store ends with 2."""
    from surgicalft.sweep.store import StoreError

    try:
        _check(options)
        _run(options)
    except (ValueError, StoreError, ModuleNotFoundError) as error:
        parser.error(str(error))
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, RuntimeError) as error:
        print(f"surgicalft results: {error}", file=sys.stderr)
        return 1
    return 0


def _check(options: argparse.Namespace) -> None:
    """ValueError for options that do not go together; `over` says what to average over."""
    from surgicalft.export.files import DATA, TO_READ
    from surgicalft.settings import check_choice

    suffix = options.to.suffix if options.to else None
    if suffix is not None:
        check_choice("the suffix of --to", suffix, (*DATA, *TO_READ))
    shaped = bool(options.rows or options.columns_by)
    implied = shaped or suffix == ".tex" or options.metric
    options.over = options.mean or (["seed"] if options.mean == [] or implied else [])
    if shaped and suffix in DATA:
        raise ValueError(
            f"--rows and --columns-by shape a table to read; {suffix} has a row per mean: leave them out"
        )
    if options.failed and (options.over or options.choose):
        raise ValueError("--failed lists failed runs, which have no mean and can't be chosen")
    if options.mlflow and (options.over or options.to):
        raise ValueError("--mlflow exports runs: it goes without means and --to")


def _run(options: argparse.Namespace) -> None:
    from surgicalft.export import query, read_records
    from surgicalft.export.columns import expand, sort

    where = [*options.where, *(["status=failed"] if options.failed else [])]
    metric = options.metric or "test_accuracy"
    every = read_records(options.store)
    records, frame = query(every, where, options.choose, options.over, metric)
    if every:  # else no name is known
        frame = sort(frame, options.sort, options.descending)
        options.columns = expand(options.columns, list(frame))
    if options.mlflow:
        _mlflow(records, frame, options)
    elif options.to:
        _write(records, frame, options)
        print(options.to)
    elif frame.empty:
        print(f"no run of the {len(every)} in {options.store} is asked for")
    else:
        print(_shown(frame, options))
    sys.stdout.flush()


def _shown(frame: "pd.DataFrame", options: argparse.Namespace) -> str:
    from surgicalft.export.view import view, view_pivot

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    if table := _pivot(frame, options):
        return view_pivot(frame, table, width)
    limit = options.limit if options.limit is not None else FEW if terminal else 0
    return view(frame, options.columns, width, limit)


def _pivot(frame: "pd.DataFrame", options: argparse.Namespace) -> "Pivot | None":
    from surgicalft.export import pivot

    if not options.rows and not options.columns_by:
        return None
    return pivot(frame, options.rows, options.columns_by, options.best, options.compare)


def _write(records: "list[Record]", frame: "pd.DataFrame", options: argparse.Namespace) -> None:
    from surgicalft.export import latex, write_data
    from surgicalft.export.files import DATA, markdown_table, write_text
    from surgicalft.export.view import default_columns
    from surgicalft.report.tables import company

    frame, columns, path = frame.head(options.limit or len(frame)), options.columns, options.to
    about = {
        "store": str(options.store),
        "conditions": options.where,
        "rule": options.choose or "none",
    }
    about = company(records, **about)
    if path.suffix in DATA:
        write_data(frame[columns] if columns else frame, path)
    elif path.suffix == ".md":
        table = _pivot(frame, options)
        shown = frame if table else frame[columns or default_columns(frame)]
        write_text(markdown_table(shown, about, table), path)
    else:
        best = {"best": options.best, "compare": options.compare}
        said = {"caption": options.caption, "label": options.label, "company": about}
        write_text(latex(frame, options.rows, options.columns_by, **best, **said), path)


def _mlflow(records: "list[Record]", frame: "pd.DataFrame", options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from surgicalft.export import to_mlflow

    wanted = set(frame["id"])  # where a rule chose, the chosen ones
    some = [record for record in records if record.id in wanted]
    progress = partial(tqdm, unit="run", disable=None)
    done = to_mlflow(some, options.mlflow, options.experiment, progress)
    print(
        f"{options.experiment}: {done.new} new, {done.replaced} replaced, {done.unchanged} unchanged"
    )


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)
