"""The notebooks as the report shows them: executed here, failed, or the copy that came with the project."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from surgicalft.notebooks.pairs import is_passing

RAN, FAILED, PAIRED = "executed here", "failed", "not executed here: the copy that comes with it"


@dataclass(frozen=True)
class Executed:
    """One notebook and what is known of how it was run."""

    name: str
    notebook: NotebookNode
    status: str

    @property
    def page(self) -> str:
        """Name of its page."""
        return f"{self.name}.html"

    @property
    def title(self) -> str:
        """Its first heading."""
        lines = (line for cell in self.notebook.cells for line in cell.source.splitlines())
        return next((line[2:] for line in lines if line.startswith("# ")), self.name)

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that replaced a default."""
        return dict(self._run.get("parameters", {}))

    @property
    def date(self) -> str:
        """When it ended, as YYYY-MM-DD; "" of a copy that came with the project, which does not say."""
        return str(self._run.get("end_time") or "")[:10]

    @property
    def minutes(self) -> str:
        """How long it took."""
        seconds = self._run.get("duration")
        return "" if seconds is None else f"{seconds / 60:.1f} min"

    @property
    def error(self) -> str:
        """The cell that failed and what it said; "" where none did."""
        code = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            for output in cell.outputs:
                if output.output_type == "error":
                    return f"code cell {number}: {output.ename}: {output.evalue}"
        return ""

    @property
    def _run(self) -> dict[str, Any]:
        return dict(self.notebook.metadata.get("papermill", {}))


def executed(notebooks: Path, paired: Path) -> list[Executed]:
    """Every notebook of `paired` or `notebooks`, the newest of executed and failed copy, else the paired one."""
    folders = (notebooks, paired)
    names = {p.name.split(".")[0] for f in folders for p in f.glob("[0-9][0-9]_*.ipynb")}
    return [found for name in sorted(names) for found in _one(name, notebooks, paired)]


def _one(name: str, notebooks: Path, paired: Path) -> Iterator[Executed]:
    ran, failed = notebooks / f"{name}.ipynb", notebooks / f"{name}.failed.ipynb"
    copies = [(path, status) for path, status in ((ran, RAN), (failed, FAILED)) if path.is_file()]
    copies.sort(key=lambda copy: copy[0].stat().st_mtime, reverse=True)
    for path, status in [*copies, (paired / f"{name}.ipynb", PAIRED)]:
        if path.is_file():
            notebook = nbformat.read(path, as_version=4)
            yield Executed(name, notebook if status == FAILED else _settled(notebook), status)
            return


def _settled(notebook: NotebookNode) -> NotebookNode:
    """Without progress bars and warnings, which tell a reader something only where a cell failed."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_passing(output)]
    return notebook
