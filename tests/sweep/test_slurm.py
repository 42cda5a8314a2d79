"""The batch script that the README's lines on Slurm send, as far as it can be looked at without Slurm."""

import re
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Port 8787:UserWarning"
    ),  # of the dashboard, taken by another
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's sockets, when it closes
]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("dask_jobqueue", reason="the extra `slurm` is not installed")
    (block,) = re.findall(r"```python\n(from dask_jobqueue.*?)```", README, re.DOTALL)
    names = {}
    exec(block.split("slurm.scale")[0], names)
    with names["slurm"] as slurm:
        yield slurm.job_script(), slurm.scheduler_address


def test_the_shell_accepts_it(script, tmp_path):
    (tmp_path / "job.sh").write_text(script[0])
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


def test_it_asks_for_what_a_run_needs(script):
    lines = script[0].splitlines()
    asked = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert {"-p gpu", "-n 1", "--gres=gpu:1", "-t 04:00:00"} <= set(asked)


def test_it_starts_one_worker_of_one_thread_that_declares_its_card(script):
    (command,) = [line for line in script[0].splitlines() if "dask_worker" in line]
    assert script[1] in command
    assert "--nthreads 1 " in command and command.endswith("--resources GPU=1")
    assert "--nworkers" not in command
