"""Executes one notebook, text form or .ipynb, through papermill, with its warnings turned into errors."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError, strip_color

from surgicalft.notebooks.parameters import check_values, read_parameters

SUFFIXES = (".py", ".ipynb")
# The native kernel's name: Jupyter starts it with this very interpreter, on the PATH or not.
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
INJECTED = "injected-parameters"  # the tag of papermill's own cell, which the source does not have
TRACEBACK_LINES = 20
QUIET = ["--IPKernelApp.log_level=ERROR"]  # else each kernel warns that localhost is not encrypted


class NotebookError(RuntimeError):
    """A notebook failed; the message names it, the failing cell, and ends with the traceback's end."""


def read_notebook(source: Path) -> NotebookNode:
    """A notebook from its text form (jupytext) or from .ipynb, with the kernel set to python3.

    Raises FileNotFoundError where there is none and ValueError where the file is not a notebook.
    """
    if source.suffix not in SUFFIXES:
        raise ValueError(f"{source} must end in one of {SUFFIXES}")
    if not source.is_file():
        raise FileNotFoundError(f"there is no notebook {source}")
    try:
        notebook = jupytext.read(source)
    except (
        ValueError,
        AttributeError,
    ) as error:  # an empty file, text that is not JSON, other JSON
        raise ValueError(f"{source} is not a notebook: {error}") from error
    notebook.metadata["kernelspec"] = dict(KERNEL)
    return notebook


def run_notebook(
    source: Path,
    output: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    timeout: float | None = None,
) -> NotebookNode:
    """Execute `source` in the current folder and return it with its outputs.

    output: where the executed copy goes (.ipynb). It is written beside and renamed at the end, so that a
        failure leaves an older copy as it was, and the failed one as `NAME.failed.ipynb`.
    parameters: values that replace defaults of the parameters cell.
    progress: show a bar over cells, and what the cells write to standard error, such as their own bars.
    timeout: seconds allowed to each cell; none by default.

    Raises ValueError as `read_parameters` and `check_values` do, before anything is executed, and
    NotebookError where a cell raises, runs out of time, or the kernel dies.
    """
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"{source.stem}.ipynb"
            return run_notebook(source, copy, parameters, progress, timeout)
    notebook = read_notebook(source)
    values = check_values(read_parameters(notebook, source.name), parameters or {}, source.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = partial_copy(output), output.with_suffix(".failed.ipynb")
    try:
        executed = _execute(notebook, partial, source, values, progress, timeout)
        executed.metadata.papermill.update(input_path=source.name, output_path=output.name)
        write_whole(executed, output)
        failed.unlink(missing_ok=True)
    except NotebookError:
        if partial.exists():
            os.replace(partial, failed)
        raise
    finally:
        partial.unlink(missing_ok=True)  # there only after an interruption
    return executed


def write_whole(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook so that whoever reads, or a kill at any moment, finds the older one or this."""
    partial = partial_copy(path)
    nbformat.write(notebook, partial)
    os.replace(partial, path)


def partial_copy(output: Path) -> Path:
    """Where a copy is written until it is whole."""
    return output.with_name(f".{output.stem}.partial.ipynb")


def _execute(
    notebook: NotebookNode,
    partial: Path,
    source: Path,
    values: dict[str, Any],
    progress: bool,
    timeout: float | None,
) -> NotebookNode:
    try:
        return papermill.execute_notebook(
            notebook,
            partial,
            parameters=values,
            progress_bar={"desc": source.stem} if progress else False,
            stderr_file=sys.stderr if progress else None,
            execution_timeout=timeout,
            extra_arguments=QUIET,
        )
    except PapermillExecutionError as error:
        reason = strip_color("\n".join(error.traceback)) or f"{error.ename}: {error.evalue}"
    except (CellTimeoutError, RuntimeError) as error:  # a dead kernel is a RuntimeError
        reason = f"{type(error).__name__}: {error}"
    tail = "\n".join(reason.strip().splitlines()[-TRACEBACK_LINES:])
    raise NotebookError(f"{source.name} failed in {_last_started(partial)}:\n{tail}")


def _last_started(partial: Path) -> str:
    """The cell that was running; by its start time, as papermill calls every cell of a dead kernel completed."""
    cells = nbformat.read(partial, as_version=4).cells if partial.exists() else []
    code = [
        c for c in cells if c.cell_type == "code" and INJECTED not in c.metadata.get("tags", [])
    ]
    started = [
        n for n, c in enumerate(code, 1) if c.metadata.get("papermill", {}).get("start_time")
    ]
    if not started:
        return "no cell: the kernel did not start"
    lines = code[started[-1] - 1].source.strip().splitlines() or [""]
    return f"code cell {started[-1]} (`{lines[0]}`)"
