"""Text notebook and executed copy: NN_topic.py is the source, NN_topic.ipynb beside it what people read."""

import hashlib
from collections import Counter
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from surgicalft.notebooks.runner import KERNEL, read_notebook, run_notebook, write_whole

WIDGET = "application/vnd.jupyter.widget-view+json"


def paired(source: Path) -> Path:
    """The executed copy beside a text notebook; ValueError where `source` is not a .py."""
    if source.suffix != ".py":
        raise ValueError(f"a text notebook ends in .py, not {source.name!r}")
    return source.with_suffix(".ipynb")


def execute_pair(source: Path, progress: bool = True, timeout: float | None = None) -> Path:
    """Execute a text notebook with its defaults and write the tidied copy beside it."""
    copy = paired(source)
    executed = tidied(run_notebook(source, progress=progress, timeout=timeout))
    write_whole(executed, copy)
    return copy


def tidied(notebook: NotebookNode) -> NotebookNode:
    """A notebook without what differs from run to run or from machine to machine.

    Kept: sources, tags, execution counts, outputs. Gone: times, paths, versions, widgets and standard
    error (progress bars). A cell's id is the hash of its source, so that equal cells stay equal.
    """
    seen: Counter[str] = Counter()
    cells = []
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cells.append(_tidied_cell(cell, f"{digest}-{seen[digest]}"))
        seen[digest] += 1
    metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def check_pair(source: Path, copy: Path) -> list[str]:
    """What is wrong with an executed copy, in sentences; empty where nothing is.

    Its cells must equal the text form's, every code cell must have run, in order from top to bottom and
    without an error, and something must have come out.
    """
    if not copy.is_file():
        return [f"{copy.name} is missing: run `make notebooks`"]
    try:
        ours, theirs = read_notebook(source).cells, read_notebook(copy).cells
    except ValueError as error:
        return [f"{error}: run `make notebooks`"]
    problems = []
    if [_content(cell) for cell in ours] != [_content(cell) for cell in theirs]:
        problems.append(f"{copy.name} is out of step with {source.name}: run `make notebooks`")
    code = [cell for cell in theirs if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        problems.append(f"{copy.name} was not executed from top to bottom: run `make notebooks`")
    outputs = [output for cell in code for output in cell.outputs]
    if not outputs:
        problems.append(f"{copy.name} has no output")
    errors = [output.ename for output in outputs if output.output_type == "error"]
    if errors:
        problems.append(f"{copy.name} holds errors: {errors}")
    return problems


def _content(cell: NotebookNode) -> tuple[str, str, list[str]]:
    return cell.cell_type, cell.source.strip(), sorted(cell.metadata.get("tags", []))


def _tidied_cell(cell: NotebookNode, identity: str) -> NotebookNode:
    tags = cell.metadata.get("tags")
    tidy = NotebookNode(
        id=identity,
        cell_type=cell.cell_type,
        source=cell.source,
        metadata={"tags": tags} if tags else {},
    )
    if cell.cell_type == "code":
        tidy.execution_count = cell.execution_count
        tidy.outputs = [output for output in cell.outputs if not is_passing(output)]
        for output in tidy.outputs:
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count
    return tidy


def is_passing(output: NotebookNode) -> bool:
    """Whether an output only mattered while it ran."""
    return output.get("name") == "stderr" or WIDGET in output.get("data", {})
