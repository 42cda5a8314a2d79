"""The strict runner, on small notebooks of which most are broken on purpose."""

import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from surgicalft.notebooks import (
    NotebookError,
    check_pair,
    check_values,
    execute_pair,
    paired,
    read_notebook,
    read_parameters,
    run_notebook,
    tidied,
)

PARAMETERS = """\
profile: str = "embedded"  # a budget
# seeds of the runs
seeds: list[int] = [0, 1]
rate: float = 1e-3
limit: int | None = None
name: Optional[str] = "x"
options = {"a": [1, 2]}
fast = True"""


def write(
    folder: Path, *cells: str, name: str = "01_x.py", tags: tuple[str, ...] = ("parameters",)
) -> Path:
    """A text notebook whose first cells bear the given tags, one each."""
    made = [new_markdown_cell("# Title"), *map(new_code_cell, cells)]
    for cell, tag in zip(made[1:], tags, strict=False):
        cell.metadata["tags"] = [tag]
    path = folder / name
    jupytext.write(new_notebook(cells=made), path, fmt="py:percent")
    return path


def parameters_of(folder: Path, cell: str = PARAMETERS) -> Any:
    return read_parameters(read_notebook(write(folder, cell)), "01_x.py")


def test_reads_parameters(tmp_path: Path) -> None:
    found = {name: p.default for name, p in parameters_of(tmp_path).items()}
    assert found == {
        "profile": "embedded",
        "seeds": [0, 1],
        "rate": 1e-3,
        "limit": None,
        "name": "x",
        "options": {"a": [1, 2]},
        "fast": True,
    }


def test_no_parameters_cell(tmp_path: Path) -> None:
    source = write(tmp_path, "x = 1", tags=())
    with pytest.raises(ValueError, match=r"01_x\.py must have exactly one .* 'parameters', not 0"):
        run_notebook(source)


def test_two_parameters_cells(tmp_path: Path) -> None:
    source = write(tmp_path, "x = 1", "y = 2", tags=("parameters", "parameters"))
    with pytest.raises(ValueError, match="not 2"):
        run_notebook(source)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x = 1\ny = x + 1", r"`y = x \+ 1`: .* literal"),
        ("x: int = len('ab')", "literal"),
        ("x: list[int] = [i for i in range(3)]", "literal"),
        ("x = y = 1", "only `name: type = literal`"),
        ("x: int", "only"),
        ("import os", "only"),
        ("x += 1", "only"),
        ("print(1)", "only"),
        ("x: int = 0.5", "0.5 is not of type int"),
        ("x: list[int] = [1, 'a']", r"not of type list\[int\]"),
        ("x: Path = 'a'", r"unknown type Path; legal: bool, int"),
        ("x = (1, 2)", r"unknown type tuple; legal"),
        ("x = None", "unknown type NoneType; legal"),
        ("x = 1\nx = 2", "defined twice"),
    ],
)
def test_illegal_parameters_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters_of(tmp_path, line)


def test_unknown_parameter_names_the_legal_ones(tmp_path: Path) -> None:
    source = write(tmp_path, "x = 1\nrate: float = 0.1", "assert False, 'must not run'")
    with pytest.raises(ValueError, match=r"has no parameters \['y'\]; legal: \['x', 'rate'\]"):
        run_notebook(source, parameters={"y": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profile", 1),
        ("profile", None),
        ("seeds", 0),
        ("seeds", [0, "1"]),
        ("seeds", [True]),
        ("rate", "0.1"),
        ("rate", True),
        ("rate", float("nan")),
        ("limit", 1.5),
        ("fast", 1),
        ("options", [1]),
        ("options", {"a": (1, 2)}),  # papermill alone would write the text "(1, 2)"
        ("options", {"a": np.float32(1)}),
        ("options", {1: 2}),
        ("options", {"a": object()}),
    ],
)
def test_value_of_another_type(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        check_values(parameters_of(tmp_path), {name: value}, "01_x.py")


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("rate", 1, 1),
        ("rate", np.float32(0.5), 0.5),
        ("limit", np.int64(3), 3),
        ("limit", None, None),
        ("name", None, None),
        ("seeds", (1, 2), [1, 2]),
        ("seeds", [], []),
        ("profile", Path("a/b"), "a/b"),
        ("options", {"b": {"c": [1.5, None]}}, {"b": {"c": [1.5, None]}}),
    ],
)
def test_value_that_fits(tmp_path: Path, name: str, value: object, plain: object) -> None:
    got = check_values(parameters_of(tmp_path), {name: value}, "01_x.py")[name]
    assert got == plain
    assert type(got) is type(plain)


def test_absent_or_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"02_none\.py"):
        run_notebook(tmp_path / "02_none.py")
    with pytest.raises(ValueError, match=r"a\.txt must end in one of"):
        run_notebook(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"not 'a\.ipynb'"):
        paired(tmp_path / "a.ipynb")


def test_runs_with_parameters_in_this_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # as where the virtual environment is not activated
    source = write(
        tmp_path,
        "n: int = 1\nrate: float = 0.5",
        "import sys\nprint(n, rate)\nprint('a bar', file=sys.stderr)",
        "print(sys.executable)",
    )
    output = tmp_path / "made" / "01_x.ipynb"
    executed = run_notebook(source, output, {"n": np.int64(7)})
    texts = [o.text for c in executed.cells for o in c.get("outputs", []) if o.name == "stdout"]
    assert texts == ["7 0.5\n", f"{sys.executable}\n"]
    assert nbformat.read(output, as_version=4).cells[-1].outputs[0].text == texts[-1]
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    shown = capfd.readouterr().err
    assert "a bar" in shown
    assert "01_x: " in shown
    assert "WARNING" not in shown


def test_failing_cell_is_named_and_the_older_copy_kept(tmp_path: Path) -> None:
    source = write(tmp_path, "n: int = 0", "x = 1", "y = 2\n1 / n  # breaks")
    output = tmp_path / "01_x.ipynb"
    output.write_text("older")
    with pytest.raises(
        NotebookError, match=r"01_x\.py failed in code cell 3 \(`y = 2`\)"
    ) as caught:
        run_notebook(source, output, {"n": 0}, progress=False)
    assert str(caught.value).endswith("ZeroDivisionError: division by zero")
    assert output.read_text() == "older"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"01_x.py", "01_x.ipynb", "01_x.failed.ipynb"}
    assert "ZeroDivisionError" in (tmp_path / "01_x.failed.ipynb").read_text()


def test_dead_kernel_and_time_out(tmp_path: Path) -> None:
    dies = write(tmp_path, "n = 0", "import os\nos._exit(1)", "x = 1")
    with pytest.raises(NotebookError, match=r"(?s)code cell 2 \(`import os`\).*Kernel died"):
        run_notebook(dies, progress=False)
    hangs = write(tmp_path, "n = 0", "import time\ntime.sleep(60)", name="02_y.py")
    with pytest.raises(
        NotebookError, match=r"(?s)02_y\.py failed in code cell 2.*CellTimeoutError"
    ):
        run_notebook(hangs, progress=False, timeout=1)


def test_pair(tmp_path: Path) -> None:
    source = write(
        tmp_path, "n: int = 2", "import sys\nn + 1", "print('bar', file=sys.stderr)", "n + 1"
    )
    copy = paired(source)
    assert check_pair(source, copy) == ["01_x.ipynb is missing: run `make notebooks`"]
    assert execute_pair(source, progress=False) == copy
    assert check_pair(source, copy) == []
    text = copy.read_text()
    for passing in ("stderr", "papermill", "_time", str(tmp_path), platform.python_version()):
        assert f'{passing}"' not in text, passing
    assert tidied(nbformat.read(copy, as_version=4)) == nbformat.read(copy, as_version=4)
    assert read_parameters(read_notebook(copy), "copy").keys() == {
        "n"
    }  # papermill alone finds them too

    source.write_text(source.read_text().replace("n + 1", "n + 2", 1))
    assert check_pair(source, copy) == [
        "01_x.ipynb is out of step with 01_x.py: run `make notebooks`"
    ]


def executed(**changes: Any) -> dict[str, Any]:
    """A code cell of an executed copy, as JSON."""
    output = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    cell = {"cell_type": "code", "source": "x = 1", "id": "a", "metadata": {"tags": ["parameters"]}}
    return {**cell, "execution_count": 1, "outputs": [output], **changes}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"execution_count": None}, "not executed from top to bottom"),
        ({"execution_count": 3}, "not executed from top to bottom"),
        ({"outputs": []}, "no output"),
        ({"metadata": {}}, "out of step"),
        ({"source": "x = 2"}, "out of step"),
        (
            {"outputs": [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]},
            r"holds errors: \['E'\]",
        ),
    ],
)
def test_pair_problems(tmp_path: Path, changes: dict[str, Any], problem: str | None) -> None:
    source, copy = tmp_path / "01_x.py", tmp_path / "01_x.ipynb"
    source.write_text('# %% tags=["parameters"]\nx = 1\n')
    body = {"cells": [executed(**changes)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    copy.write_text(json.dumps(body))
    found = check_pair(source, copy)
    assert len(found) == (problem is not None)
    if problem:
        assert re.search(problem, found[0])


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", '{"cells": [', "{}"])
def test_copy_that_is_no_notebook(tmp_path: Path, text: str) -> None:
    source = write(tmp_path, "n = 0")
    paired(source).write_text(text)
    (problem,) = check_pair(source, paired(source))
    assert "01_x.ipynb is not a notebook" in problem
    with pytest.raises(ValueError, match="is not a notebook"):
        run_notebook(paired(source))


def test_tidied_drops_widgets_and_tells_equal_cells_apart() -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "bar"}
    shown = nbformat.v4.new_output("display_data", data=widget)
    cells = [new_code_cell("x", outputs=[shown], execution_count=n) for n in (1, 2)]
    tidy = tidied(new_notebook(cells=cells, metadata={"widgets": {}}))
    nbformat.validate(tidy)
    assert [cell.outputs for cell in tidy.cells] == [[], []]
    assert tidy.cells[0].id != tidy.cells[1].id
    assert set(tidy.metadata) == {"kernelspec", "language_info"}
