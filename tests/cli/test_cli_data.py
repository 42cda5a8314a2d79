"""The command `surgicalft data`: what is here, where it is looked for, and whether a copy is whole."""

import numpy as np
import pytest

from surgicalft.cli import main
from surgicalft.shifts import families
from surgicalft.shifts.catalogue import data_sets, get_data_set
from surgicalft.shifts.corruptions import CORRUPTIONS


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SURGICALFT_DATA", raising=False)


def test_every_scenario_is_listed_with_where_to_get_it(capsys, tmp_path):
    assert main(["data", "--data-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    lines = [line[2:].strip() for line in text.splitlines()]
    assert set(families()) <= set(lines)
    assert "✓ glyphs-c" in text and "made on the spot" in text
    for data_set in data_sets():
        assert f"{data_set.name}: no {' or '.join(data_set.places)}" in text
        assert data_set.publisher in text and data_set.size in text


def test_what_is_there_is_ticked(capsys, tmp_path):
    (tmp_path / "CIFAR-10-C").mkdir()
    (tmp_path / "cifar-10-batches-py").mkdir()
    main(["data", "--data-dir", str(tmp_path)])
    text = capsys.readouterr().out
    assert "✓ cifar10-c\n" in text and f"cifar10-c: {tmp_path / 'CIFAR-10-C'}" in text


def test_every_real_scenario_has_its_data_set():
    named = {family for data_set in data_sets() for family in data_set.scenarios}
    assert named == {family for family in families() if not family.startswith("glyphs")}


def test_check(capsys, tmp_path):
    assert main(["data", "check", "cifar10-c", "--data-dir", str(tmp_path)]) == 1
    assert "cifar10-c: no CIFAR-10-C (2.9 GB; get it from" in capsys.readouterr().err
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for name in (*CORRUPTIONS, "labels"):  # sparse files in the publisher's shape
        shape = (50_000,) if name == "labels" else (50_000, 32, 32, 3)
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
    assert main(["data", "--data-dir", str(tmp_path), "check", "cifar10-c"]) == 0
    assert "19 corruptions of 5 x 10,000 images" in capsys.readouterr().out
    np.save(folder / "fog.npy", np.zeros((10, 32, 32, 3), np.uint8))
    assert main(["data", "check", "cifar10-c", "--data-dir", str(tmp_path)]) == 1
    assert "fog.npy holds uint8 (10, 32, 32, 3), expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "check", "mnist"], "unknown data set 'mnist'; legal: "),
        (
            ["data", "--data-dir", "/no/such/folder"],
            "the data folder /no/such/folder does not exist",
        ),
        (["data", "check"], "required: name"),
        (["datta"], "invalid choice: 'datta'"),
    ],
)
def test_mistakes(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_unknown_data_set():
    with pytest.raises(ValueError, match=r"unknown data set 'x'; legal: .*cifar10, cifar10-c"):
        get_data_set("x")
