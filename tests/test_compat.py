"""Each work-around works and is still needed. Imports that happen once run in a process of their own."""

import importlib
import importlib.metadata
import importlib.util
import runpy
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from shifts.wilds_fixtures import (
    folder_of,
    scatter_without_extension,
    write_celeba,
    write_celeba_tables,
    write_fmow,
    write_regions,
    write_waterbirds,
)

from surgicalft.compat import check_celeba_tables, import_robustbench, wilds_class

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


def test_fmow_import_leaves_pillow_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_345)
    monkeypatch.delitem(sys.modules, "wilds.datasets.fmow_dataset", raising=False)
    module = sys.modules[wilds_class("fmow").__module__]
    assert Image.MAX_IMAGE_PIXELS == 12_345
    importlib.reload(module)
    assert Image.MAX_IMAGE_PIXELS != 12_345, "wilds leaves the limit alone: drop what restores it"


def test_unknown_wilds_class() -> None:
    with pytest.raises(
        ValueError, match="unknown wilds data set 'amazon'; legal: camelyon17, celebA"
    ):
        wilds_class("amazon")


def test_fmow_still_needs_its_timestamps_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fmow(tmp_path)
    read = wilds_class("fmow")
    assert len(read(root_dir=tmp_path)) == 6 * 62  # `seq` left out
    monkeypatch.setattr(sys.modules[read.__module__], "pd", pd)
    with pytest.raises(ValueError, match="doesn't match format"):
        read(root_dir=tmp_path)


def test_fmow_at_its_real_row_count(tmp_path: Path) -> None:
    """Most timestamps have no fraction, the first that has one comes late; all rows of the table, in its splits."""
    folder = folder_of(tmp_path, "fmow", "1.1")
    write_regions(folder)
    rows = np.arange(523_846)
    pd.DataFrame(
        {
            "split": np.where(rows % 10 == 9, "seq", np.where(rows % 10 == 8, "test", "train")),
            "category": np.where(rows % 2, "zoo", "airport"),
            "country_code": "KEN",
            "timestamp": pd.Series(2002 + rows % 16).astype(str)
            + np.where(rows % 997 == 996, "-03-04T05:06:07.643Z", "-03-04T05:06:07Z"),
        }
    ).to_csv(folder / "rgb_metadata.csv", index=False)
    known = wilds_class("fmow")(root_dir=tmp_path)
    kept, year = rows[rows % 10 != 9], (2002 + rows % 16)[rows % 10 != 9]
    assert (known.full_idxs == kept).all()
    for split, where in {
        "train": (kept % 10 < 8) & (year < 2013),
        "id_test": (kept % 10 == 8) & (year < 2013),
        "test": (kept % 10 == 8) & (year >= 2016),
    }.items():
        assert ((known.split_array == known.split_dict[split]) == where).all()


def celeba_at_its_real_row_count(root: Path) -> np.ndarray:
    folder = folder_of(root, "celebA", "1.0")
    rows = np.arange(202_599)
    names = [f"{row + 1:06}.jpg" for row in rows]
    partition = np.searchsorted([162_770, 182_637], rows, side="right")
    write_celeba_tables(folder, names, rows % 7 == 0, rows % 3 == 0, partition)
    return rows


def test_celeba_at_its_real_row_count(tmp_path: Path) -> None:
    rows = celeba_at_its_real_row_count(tmp_path)
    known = wilds_class("celebA")(root_dir=tmp_path)
    assert np.bincount(known.split_array).tolist() == [162_770, 19_867, 19_962]
    assert (known.y_array.numpy() == (rows % 7 == 0)).all()
    male = known.metadata_array[:, known.metadata_fields.index("male")]
    assert (male.numpy() == (rows % 3 == 0)).all()


def test_celeba_still_needs_pandas_below_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pandas 3 does to `values` of a large table, done here to those of any."""
    write_celeba(tmp_path)
    values = vars(pd.DataFrame)["values"].fget

    def read_only(frame: pd.DataFrame) -> np.ndarray:
        view = values(frame).view()
        view.flags.writeable = False
        return view

    monkeypatch.setattr(pd.DataFrame, "values", property(read_only))
    with pytest.raises(ValueError, match="read-only"):
        wilds_class("celebA")(root_dir=tmp_path)


def test_celeba_still_pairs_its_tables_by_position(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path)
    check_celeba_tables(folder)
    table = folder / "list_eval_partition.csv"
    pd.read_csv(table).iloc[::-1].to_csv(table, index=False)
    known = wilds_class("celebA")(root_dir=tmp_path)
    assert known.split_array[0] == 2, "wilds pairs by name: drop check_celeba_tables"
    with pytest.raises(ValueError, match=r"row 1 is '000001.jpg' in .*, but '000049.jpg' in"):
        check_celeba_tables(folder)


def test_celeba_tables_of_two_lengths(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path)
    table = folder / "list_eval_partition.csv"
    pd.read_csv(table).iloc[:-1].to_csv(table, index=False)
    with pytest.raises(ValueError, match=r"row 49 is '000049.jpg' in .*, but None in"):
        check_celeba_tables(folder)


def test_wilds_groups_are_still_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_waterbirds(tmp_path)
    known = wilds_class("waterbirds")(root_dir=tmp_path)
    grouper = importlib.import_module("wilds.common.grouper").CombinatorialGrouper
    names = grouper(known, ["y", "background"]).group_str(1)  # group 1: landbirds on water
    assert names == "background =  land, y = waterbird", "names follow the fields"
    labels = torch.zeros(4, dtype=torch.int64)
    metadata = known.metadata_array[(known.y_array == 0).nonzero().flatten()[:4]]
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(ImportError, match="torch_scatter"):
        known.eval(labels, labels, metadata)
    monkeypatch.setitem(sys.modules, "torch_scatter", scatter_without_extension())
    results, _ = known.eval(labels, labels, metadata)
    assert results["acc_y:waterbird_background:land"] == 0, "an empty group has an accuracy no more"
