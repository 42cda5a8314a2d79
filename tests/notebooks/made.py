"""Small notebooks for the tests of what runs notebooks."""

from pathlib import Path

import jupytext
from nbformat.v4 import new_code_cell, new_notebook


def write(folder: Path, name: str, *cells: str) -> Path:
    """A text notebook whose first cell is its parameters cell."""
    made = [new_code_cell(cell) for cell in cells]
    made[0].metadata["tags"] = ["parameters"]
    folder.mkdir(exist_ok=True)
    jupytext.write(new_notebook(cells=made), folder / name, fmt="py:percent")
    return folder / name
