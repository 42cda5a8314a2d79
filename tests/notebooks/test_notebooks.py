"""Every notebook is thin, ends with its claim, and has an executed copy in step with it."""

import ast
from pathlib import Path

import papermill
import pytest
from nbformat import NotebookNode

from surgicalft.notebooks import check_pair, paired, read_notebook, read_parameters, run_notebook

FOLDER = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.While, ast.Try)

each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def code(source: Path) -> list[NotebookNode]:
    return [cell for cell in read_notebook(source).cells if cell.cell_type == "code"]


def test_every_notebook_counts() -> None:
    assert SOURCES, "there is no notebook"
    numbers = [path.stem.split("_")[0] for path in SOURCES]
    assert all(number.isdecimal() and len(number) == 2 for number in numbers), SOURCES
    assert len(set(numbers)) == len(numbers), f"two notebooks share a number: {numbers}"
    copies = {path.with_suffix(".py") for path in FOLDER.glob("*.ipynb")}
    assert copies == set(SOURCES), "every text notebook has its copy, every copy its text"


@each
def test_in_step(source: Path) -> None:
    assert check_pair(source, paired(source)) == []


@each
def test_parameters_have_types_comments_and_papermills_eye(source: Path) -> None:
    notebook = read_notebook(source)
    parameters = read_parameters(notebook, source.name)
    seen = papermill.inspect_notebook(str(paired(source)))
    assert list(seen) == list(parameters), (
        "papermill reads no `|` in a type: give a default of one type"
    )
    bare = [
        name
        for name, parameter in seen.items()
        if not (parameter["help"] and parameter["inferred_type_name"])
    ]
    assert not bare, f"without a comment: {bare}"


@each
def test_holds_no_logic(source: Path) -> None:
    tree = ast.parse("\n".join(cell.source for cell in code(source)))
    found = [
        f"{type(node).__name__} {getattr(node, 'name', '')}"
        for node in ast.walk(tree)
        if isinstance(node, LOGIC)
    ]
    assert not found, f"belongs in the package: {found}"


@each
def test_ends_with_its_claim(source: Path) -> None:
    last = code(source)[-1]
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(last.source))), (
        last.source
    )


@pytest.mark.slow
@each
def test_executes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parent)
    run_notebook(source, tmp_path / f"{source.stem}.ipynb", progress=False)
