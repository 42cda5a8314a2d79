"""What is asked for is checked before anything runs, in notebooks that must not run at all."""

from pathlib import Path

import pytest
from made import write

from surgicalft.notebooks.plan import assignment, find_notebooks, make_plan, profiles

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "01_a.py", 'profile: str = "embedded"  # "paper" runs more\nn: int = 0')
    write(tmp_path, "02_b.py", 'profile: str = "embedded"  # "cifar", "paper": real\nn: int = 0')
    write(tmp_path, "03_c.py", "n: int = 0  # no profile")
    (tmp_path / "helper.py").write_text("x = 1")
    return tmp_path


def names(plan):
    return [task.name for task in plan.tasks]


def test_find_notebooks(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileNotFoundError, match="no notebook NN_topic"):
        find_notebooks(empty)
    assert [path.name for path in find_notebooks(folder)] == ["01_a.py", "02_b.py", "03_c.py"]
    for only in ("02_b", "02_b.py", "02"):
        assert [path.stem for path in find_notebooks(folder, [only])] == ["02_b"]
    assert [path.stem for path in find_notebooks(folder, ["03", "01", "03_c"])] == ["01_a", "03_c"]


def test_everything_with_its_defaults(folder):
    plan = make_plan(folder)
    assert names(plan) == ["01_a", "02_b", "03_c"]
    assert plan.left_out == {}
    assert all(task.values == {} for task in plan.tasks)


def test_a_profile_leaves_out_by_name_what_does_not_know_it(folder):
    plan = make_plan(folder, values={"n": 1}, profile="cifar")
    assert [(task.name, task.values) for task in plan.tasks] == [
        ("02_b", {"n": 1, "profile": "cifar"})
    ]
    assert plan.left_out == {
        "01_a": "it has no profile 'cifar', only ['embedded', 'paper']",
        "03_c": "it has no profile 'cifar', only []",
    }


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"only": ["02", "c"]}, r"unknown notebook 'c'; legal: \['01_a', '02_b', '03_c'\]"),
        ({"values": {"x": 1}}, r"01_a\.py has no parameters \['x'\]; legal: \['profile', 'n'\]"),
        ({"values": {"profile": "paper"}}, r"03_c\.py has no parameters \['profile'\]"),
        ({"values": {"n": "many"}}, "parameter n must be int, not 'many'"),
        (
            {"profile": "papr"},
            r"no notebook has the profile 'papr'; legal: \['cifar', 'embedded', 'paper'\]",
        ),
        (
            {"profile": "paper", "values": {"profile": "cifar"}},
            "two profiles were asked for: 'paper', 'cifar'",
        ),
    ],
)
def test_what_makes_no_sense(folder, asked, message):
    with pytest.raises(ValueError, match=message):
        make_plan(folder, **asked)


def test_a_notebook_without_its_parameters_cell(folder):
    (folder / "04_d.py").write_text("# %%\nn = 0\n")
    with pytest.raises(ValueError, match=r"04_d\.py must have exactly one cell with the tag"):
        make_plan(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n=5", ("n", 5)),
        ("seeds=[0, 1]", ("seeds", [0, 1])),
        ("fast=True", ("fast", True)),
        ("scenario=glyphs-c/fog", ("scenario", "glyphs-c/fog")),
        ("text=a=b", ("text", "a=b")),
        ("text=", ("text", "")),
    ],
)
def test_assignment(text, expected):
    assert assignment(text) == expected


@pytest.mark.parametrize("text", ["n", "=5", ""])
def test_no_assignment(text):
    with pytest.raises(ValueError, match="--set must be NAME=VALUE, not"):
        assignment(text)


def test_the_real_notebooks_name_their_profiles():
    found = {source.stem: profiles(source) for source in find_notebooks(ROOT / "notebooks")}
    assert all(known[0] == "embedded" for known in found.values()), found
    assert all(set(known) <= {"embedded", "cifar", "paper"} for known in found.values()), found
    assert found["01_propositions"] == ["embedded", "paper"]
    assert found["03_which_block"] == ["embedded", "cifar", "paper"]
