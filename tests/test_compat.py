"""Each work-around works and is still needed. Imports that happen once run in a process of their own."""

import importlib.metadata
import importlib.util
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest

from surgicalft.compat import import_robustbench

ROBUSTBENCH = importlib.util.find_spec("robustbench") is not None


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def installed(package: str, path: str) -> Path:
    return Path(str(importlib.metadata.distribution(package).locate_file(path)))


def test_both_import() -> None:
    """wilds asks `outdated` for newer versions; here stands one that says it was asked."""
    done = python(
        "import sys, types\n"
        "fake = sys.modules['outdated'] = types.ModuleType('outdated')\n"
        "fake.check_outdated = lambda *version: print('asked for', *version)\n"
        "from surgicalft.compat import import_robustbench, import_wilds\n"
        "print(len(import_wilds().supported_datasets), 'datasets')\n"
        "import wilds.datasets.waterbirds_dataset\n"
        "assert sys.modules['outdated'] is fake\n"
        f"if {ROBUSTBENCH}:\n"
        "    assert callable(import_robustbench().load_model)\n"
        "    assert 'autoattack' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "17 datasets\n"


def test_wilds_still_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    fake = types.ModuleType("outdated")
    fake.check_outdated = lambda *version: asked.append(version)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outdated", fake)
    runpy.run_path(str(installed("wilds", "wilds/version.py")))["thread"].join()
    assert asked == [("wilds", "2.0.0")], "wilds asks no more: drop import_wilds"


@pytest.mark.skipif(not ROBUSTBENCH, reason="robustbench is not installed")
def test_robustbench_still_needs_it() -> None:
    wanted = "from autoattack import" in installed("robustbench", "robustbench/eval.py").read_text()
    there = importlib.util.find_spec("autoattack") is not None
    assert wanted and not there, "robustbench imports by itself: drop import_robustbench"


def test_robustbench_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'surgicalft\[robustbench\]'"):
        import_robustbench()
