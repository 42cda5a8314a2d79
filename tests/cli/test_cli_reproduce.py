"""What `surgicalft reproduce` and `surgicalft pair` refuse; what they do: tests/notebooks."""

import pytest

from surgicalft import cli

NOTEBOOK = '# %% tags=["parameters"]\nn: int = 0\n\n# %%\nprint(n)\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/01_x.py").write_text(NOTEBOOK)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--set", "x=1"], "has no parameters ['x']; legal: ['n']"),
        (["reproduce", "--set", "n"], "--set must be NAME=VALUE, not 'n'"),
        (["reproduce", "--set", "n=1,2"], "parameter n must be int, not [1, 2]"),
        (["reproduce", "--set", "n=cifar10-c/fog"], "parameter n must be int, not 'cifar10-c/fog'"),
        (["reproduce", "--profile", "cifar"], "no notebook has the profile 'cifar'; legal: []"),
        (["reproduce", "--jobs", "0"], "jobs must be at least 1, not 0"),
        (["reproduce", "--only", "02"], "unknown notebook '02'"),
        (["pair", "--only", "02"], "unknown notebook '02'"),
        (["reproduce", "--folder", "nowhere"], "no notebook NN_topic.py"),
        (["repeat"], "invalid choice: 'repeat'"),
    ],
)
def test_wrong_command(folder, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (folder / "results/notebooks/01_x.ipynb").exists()


def test_pair(folder, capsys):
    assert cli.main(["pair", "--only", "01"]) == 0
    assert "01_x: " in capsys.readouterr().out
    assert '"0\\n"' in (folder / "notebooks/01_x.ipynb").read_text()
    (folder / "notebooks/01_x.py").write_text(NOTEBOOK.replace("print(n)", "print(1 / n)"))
    assert cli.main(["pair"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert '"0\\n"' in (folder / "notebooks/01_x.ipynb").read_text()  # the older copy
