"""Every shell command that README, its further pages and CONTRIBUTING show is run, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from surgicalft import Pretrain, Run, Store
from surgicalft.shifts.parameter_noise import Planted
from surgicalft.sweep.attempt import attempt
from surgicalft.sweep.grid import grid

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COPIED = "*.md Makefile pyproject.toml constraints.txt environment.yml figures notebooks surgicalft theory tests docs"
OUTER = ("MAKE", "PYTEST", "SURGICALFT_CLUSTER")  # variables of the make and the pytest around us


@dataclass(frozen=True)
class How:
    """How a command is run here: its exit status, what it says or leaves, and what narrows it, if anything does."""

    says: str = ""
    leaves: str = ""
    status: int = 0
    real: bool = False  # reads the folder of real images
    library: str = ""  # of an extra that is not in `dev`
    environment: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


# The first that the command starts with. An hour's work is narrowed by what its tool offers for that.
HOW = {
    "make reproduce": How("results/report/index.html", "results/report/index.html", slow=True),
    "make test ": How(" passed", environment={"PYTEST_ADDOPTS": "tests/test_tensor_kinds.py"}),
    ".venv/bin/surgicalft which-block": How(
        "% on the test images", "which-block/which_block.safetensors", slow=True
    ),
    ".venv/bin/surgicalft reproduce --only 00": How(
        "00_shifts/cifar.png", "results/notebooks/00_shifts.ipynb", real=True
    ),
    ".venv/bin/surgicalft reproduce --only 03": How(
        "03_which_block/embedded.png", "results/notebooks/03_which_block.ipynb", slow=True
    ),
    ".venv/bin/papermill notebooks/03": How(leaves="out.ipynb", slow=True),
    ".venv/bin/surgicalft results --failed": How("Diverged"),
    ".venv/bin/surgicalft results --mlflow": How(leaves="mlflow.db", library="mlflow"),
    ".venv/bin/surgicalft results --choose": How(leaves="table.tex"),
    ".venv/bin/surgicalft results --where 'scenario~": How("±"),
    ".venv/bin/surgicalft results": How("test_accuracy"),
    ".venv/bin/surgicalft data check": How("fmow", status=1),  # no copy lies here
    ".venv/bin/surgicalft data": How("living-17"),
}


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, continued ones joined, with their comments."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    return [line for line in blocks.replace("\\\n", " ").splitlines() if line]


def how(command: str) -> How:
    """The first way that fits; a command that nobody thought of is an error."""
    fitting = [way for start, way in HOW.items() if f"{command} ".startswith(start)]
    assert fitting, f"README shows a command that no test runs: {command}"
    return fitting[0]


def shown() -> list[Any]:
    """A case for each command, once."""
    cases = []
    for command in dict.fromkeys(c for page in PAGES for c in commands(page)):
        marks = [pytest.mark.slow] if how(command).slow else []
        name = re.sub(r"\s*#.*|\.venv/bin/", "", command)
        cases.append(pytest.param(command, marks=marks, id=name[:60]))
    return cases


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project in a folder of its own, with this environment as `.venv`, runs, images and weights."""
    root = tmp_path_factory.mktemp("copy")
    for path in (path for pattern in COPIED.split() for path in ROOT.glob(pattern)):
        ignore = shutil.ignore_patterns("__pycache__")
        if path.is_dir():
            shutil.copytree(path, root / path.name, ignore=ignore)
        else:
            shutil.copy2(path, root)
    (root / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".installed":
            (root / ".venv" / path.name).symlink_to(path)
    (root / ".venv" / ".installed").touch()  # younger than what it depends on: nothing is installed
    _runs(root / "results" / "runs.sqlite")
    _images(root / "my-images")
    torch.manual_seed(0)
    save_file(timm.create_model("resnet18", num_classes=2).state_dict(), root / "my.safetensors")
    return root


def _runs(path: Path) -> None:
    """A store of runs on two scenarios, as an executor of random accuracies leaves them; the last one fails."""
    draw = np.random.default_rng(0)

    def execute(run):
        if run.scenario == "glyphs-c/fog" and run.seed == 1 and run.selection == "all":
            raise FloatingPointError("Diverged: the loss is nan")
        accuracy = float(draw.uniform(50, 90))
        return {"valid_accuracy": accuracy, "test_accuracy": accuracy - 1, "n_test": 900}

    base = Run("glyphs-c/fog", "resnet8-bn-w8", "all", 1e-3, pretrain=Pretrain("glyphs", "resnet8-bn-w8"))  # fmt: skip
    names = {"scenario": ["glyphs-c/fog", "glyphs-flip"], "selection": ["block 1", "last", "all"]}
    with Store(path) as store:
        for run in grid(base, **names, learning_rate=[1e-3, 1e-4], seed=range(2), n_tune=[200]):
            store.put(attempt(run, execute))
        damaged = replace(base, scenario="glyphs-clean", planted=Planted("block 1", 50.0))
        store.put(attempt(damaged, execute))


def _images(folder: Path) -> None:
    draw = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            pixels = draw.integers(100 * k, 100 * k + 150, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.mark.parametrize("command", shown())
def test_the_command_runs(command, copy, request):
    way = how(command)
    if way.library:
        pytest.importorskip(way.library, reason=f"the extra `{way.library}` is not installed")
    known = {k: v for k, v in os.environ.items() if not k.startswith(OUTER)}
    known.pop("SURGICALFT_DATA", None)
    if way.real:
        known["SURGICALFT_DATA"] = str(request.getfixturevalue("real_data").resolve())
    known |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", **way.environment}
    done = subprocess.run(
        ["bash", "-c", command], cwd=copy, env=known, capture_output=True, text=True
    )
    assert done.returncode == way.status, done.stdout + done.stderr
    assert way.says in done.stdout + done.stderr, done.stdout + done.stderr
    assert (copy / way.leaves).exists()


def test_no_way_is_left_over():
    every = [how(command) for page in PAGES for command in commands(page)]
    assert [start for start, way in HOW.items() if way not in every] == []


def test_a_command_that_nobody_thought_of_is_noticed():
    with pytest.raises(AssertionError, match="no test runs: make tea"):
        how("make tea")
