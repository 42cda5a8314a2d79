"""A small project for the tests of the report: made-up figures and notebooks, one of which failed."""

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

PNG = bytes.fromhex(  # one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a4944415478da6368000000820081"
    "77cd72b60000000049454e44ae426082"
)
HOSTILE = "<script>alert(1)</script>"


def make_table(stem: Path, evidence: bool, paper: float) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    (stem.parent / f"{stem.name}.png").write_bytes(PNG)
    (stem.parent / f"{stem.name}.md").write_text(
        f"| selection | mean |\n| --- | --- |\n| {HOSTILE} | 70.0 |\n\n- seed: 0\n"
    )
    (stem.parent / f"{stem.name}.csv").write_text(
        f"mean,standard_error,paper,paper_error\n70,1,{paper},1\n"
    )
    about = {"evidence": evidence, "created": ["2026-01-02T03:04:05", "2026-02-03T04:05:06"]}
    (stem.parent / f"{stem.name}.json").write_text(json.dumps(about))


def make_notebook(path: Path, *outputs, parameters=None) -> None:
    """A notebook with a formula and one code cell."""
    cells = [
        new_markdown_cell(
            f"# Title & {path.name[:2]}\n\nWith $x^\\top y < 1$ and\n\n$$\\sum_i x_i$$"
        ),
        new_code_cell("print(1 < 2)", execution_count=1, outputs=list(outputs)),
    ]
    run = {"parameters": parameters or {}, "end_time": "2026-03-04T05:06:07", "duration": 90.0}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"papermill": run}), path)


def make_project(root: Path) -> dict[str, Path]:
    """What `build_site` takes."""
    make_table(root / "figures/03_which_block/embedded", False, 90.0)
    make_table(root / "figures/03_which_block/cifar", True, 71.0)
    printed = new_output("stream", name="stdout", text="True\n")
    failure = new_output("error", ename="OSError", evalue=f"no {HOSTILE}", traceback=["no luck"])
    bar = new_output("stream", name="stderr", text="runs: 100%")
    make_notebook(
        root / "executed/03_which_block.ipynb", bar, printed, parameters={"seeds": [0, 1]}
    )
    make_notebook(root / "executed/04_natural_shifts.failed.ipynb", bar, failure)
    make_notebook(root / "notebooks/05_vision_transformers.ipynb", printed)
    places = {
        "folder": "site",
        "notebooks": "executed",
        "figures": "figures",
        "paired": "notebooks",
    }
    return {name: root / place for name, place in places.items()}
