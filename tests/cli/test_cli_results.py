"""The command `surgicalft results`: what sweeps left, filtered, averaged and handed on."""

import os
import sys

import pandas as pd
import pytest

from surgicalft import cli
from surgicalft.cli import results
from surgicalft.export.mlflow_runs import Exported
from surgicalft.sweep.record import Record
from surgicalft.sweep.store import SCHEMA_VERSION, Store

FAILED = {"status": "failed", "error": "Diverged: the loss is nan"}


def _record(selection, seed, rate, valid=None, test=None):
    settings = {
        **{"scenario": "glyphs-flip", "model": "resnet8-bn-w8", "selection": selection},
        **{"learning_rate": rate, "seed": seed, "pretrain": {"source": "glyphs", "epochs": 3}},
    }
    company = {"device": "cpu", "provenance": "embedded", "versions": {"torch": "2.6"}}
    company |= {"wall_time": 1.0, "created": "2026-01-02T03:04:05+00:00"}
    outcome = (
        FAILED if test is None else {"status": "finished", "test_accuracy": test, "n_test": 900}
    )
    name = f"{selection}/{seed}/{rate}"
    return Record(name, settings, valid_accuracy=valid, **company, **outcome)


RECORDS = [
    _record("last", 0, 0.1, 70.0, 71.0),
    _record("last", 0, 0.01, 60.0, 80.0),
    _record("last", 1, 0.1, 70.0, 73.0),
    _record("last", 1, 0.01),
    _record("all", 0, 0.01, 50.0, 51.5),
    _record("all", 1, 0.01, 50.0, 52.5),
]
CHOSEN = ["--choose", "target_valid"]


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the topic on a store of RECORDS in the present folder; what it prints."""
    if results not in cli.TOPICS:
        monkeypatch.setattr(cli, "TOPICS", (*cli.TOPICS, results))
    monkeypatch.chdir(tmp_path)
    with Store("results/runs.sqlite") as store:
        for record in RECORDS:
            store.put(record)

    def run(*arguments):
        assert cli.main(["results", *arguments]) == 0
        return capsys.readouterr().out

    return run


def table(text):
    """The words of each line up to the first empty one."""
    return [line.split() for line in text.partition("\n\n")[0].splitlines()]


def test_every_run_with_the_settings_that_differ(run):
    text = run()
    head, *rows = table(text)
    assert head == [
        "selection",
        "learning_rate",
        "seed",
        "test_accuracy",
        "n_test",
        "status",
        "error",
    ]
    assert rows[0] == ["last", "0.1", "0", "71", "900", "finished", "-"]
    assert len(rows) == 6 and "6 runs\n" in text
    assert "the same in all: scenario glyphs-flip, model resnet8-bn-w8" in text


def test_conditions_columns_and_sorting(run):
    arguments = ["--where", "selection=last", "pretrain.epochs>=3", "--where", "status!=failed"]
    text = run(
        *arguments,
        "--columns",
        "seed",
        "pretrain.*",
        "test_accuracy",
        "--sort",
        "test_accuracy",
        "--descending",
    )
    assert table(text) == [
        ["seed", "pretrain.source", "pretrain.epochs", "test_accuracy"],
        *(["0", "glyphs", "3", "80"], ["1", "glyphs", "3", "73"], ["0", "glyphs", "3", "71"]),
    ]
    assert len(table(run("--limit", "2"))) == 3
    assert "6 runs, of which 2 are shown" in run("--limit", "2")


def test_failed_runs_with_their_errors(run):
    text = run("--failed", "--columns", "id", "error")
    assert table(text)[1:] == [["last/1/0.01", "Diverged:", "the", "loss", "is", "nan"]]


def test_nothing_is_asked_for(run):
    assert run("--where", "seed=7") == "no run of the 6 in results/runs.sqlite is asked for\n"


def test_chosen_and_averaged(run):
    text = run(*CHOSEN, "--mean")
    assert table(text)[1] == ["last", "72.0", "±", "1.0", "2", "0,", "1", "0.1,", "0.1", "1"]
    assert table(text)[2] == ["all", "52.0", "±", "0.5", "2", "0,", "1", "0.01,", "0.01", "0"]
    assert "1 failed run, left out of the means." in text
    assert "Learning rates chosen by target_valid." in text
    assert "reads test data" in run("--choose", "oracle", "--mean")


def test_a_table_to_read(run):
    text = run(*CHOSEN, "--rows", "scenario", "--columns-by", "selection")
    assert table(text)[:2] == [
        ["scenario", "last", "all"],
        ["glyphs-flip", "72.0", "±", "1.0†", "*", "52.0", "±", "0.5"],
    ]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_files_to_compute_with(run, tmp_path, suffix):
    assert run("--to", f"out/runs.{suffix}") == f"out/runs.{suffix}\n"
    path = tmp_path / "out" / f"runs.{suffix}"
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[suffix]
    frame = read(path)
    assert len(frame) == 6 and frame["test_accuracy"].sum() == 328.0 and "versions.torch" in frame
    run("--mean", *CHOSEN, "--to", f"out/runs.{suffix}", "--columns", "selection", "mean")
    assert list(read(path)) == ["selection", "mean"]


def test_files_to_read(run, tmp_path):
    run(*CHOSEN, "--to", "table.tex", "--caption", "Letters & flips", "--label", "tab:flips")
    source = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert (
        r"\caption{Letters \& flips Test accuracy (\%)" in source and r"\label{tab:flips}" in source
    )
    assert r"\textbf{72.0}" in source and "% store: results/runs.sqlite" in source
    assert "% rule: target_valid" in source and "% versions: torch 2.6" in source
    run(*CHOSEN, "--rows", "selection", "--to", "table.md")
    assert "| last | **72.0 ± 1.0†** |" in (tmp_path / "table.md").read_text(encoding="utf-8")
    run("--to", "runs.md")
    assert "| last | 0.1 | 0 | 71 |" in (tmp_path / "runs.md").read_text(encoding="utf-8")


def test_mlflow(run, monkeypatch):
    """What goes there; tests/export/test_mlflow_runs.py says what becomes of it."""
    exported = []

    def to_mlflow(records, uri, experiment, progress):
        exported.append((uri, experiment, [record.id for record in progress(records)]))
        return Exported(new=4)

    monkeypatch.setattr("surgicalft.export.to_mlflow", to_mlflow)
    arguments = ["--mlflow", "sqlite:///mlflow.db", "--experiment", "letters"]
    assert run(*CHOSEN, *arguments) == "letters: 4 new, 0 replaced, 0 unchanged\n"
    run(*arguments, "--where", "selection=all")
    chosen = ["last/0/0.1", "last/1/0.1", "all/0/0.01", "all/1/0.01"]
    for found, wanted in zip(exported, (chosen, chosen[2:]), strict=True):
        assert found == ("sqlite:///mlflow.db", "letters", wanted)


def test_mlflow_that_does_not_answer(run, monkeypatch, capsys):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    assert cli.main(["results", "--mlflow", "http://127.0.0.1:9"]) == 1
    assert "surgicalft results: MLflow at http://127.0.0.1:9: " in capsys.readouterr().err


def _newer(path):
    path.write_bytes(
        (data := path.read_bytes())[:60] + (SCHEMA_VERSION + 1).to_bytes(4, "big") + data[64:]
    )


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "runs.sqlite: is not there"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is damaged or truncated"),
        (lambda path: path.write_text("selection,accuracy"), "is not a store"),
        (_newer, f"has schema version {SCHEMA_VERSION + 1}, from a newer surgicalft"),
    ],
)
def test_stores_that_cant_be_read(run, capsys, tmp_path, harm, message):
    path = tmp_path / "results" / "runs.sqlite"
    harm(path)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "sead=3"], "unknown column 'sead'; did you mean 'seed'? legal: id, status"),
        (["--where", "seed=three"], "seed=three: seed is a number, not 'three'"),
        (["--where", "seed"], "a condition is NAME=VALUE"),
        (["--columns", "epochs"], "did you mean 'pretrain.epochs'"),
        (
            ["--sort", "accuracy"],
            "unknown column to sort by 'accuracy'; did you mean 'test_accuracy'",
        ),
        (["--mean", "selektion"], "did you mean 'selection'"),
        (["--metric", "accuracy"], "unknown metric 'accuracy'; did you mean 'test_accuracy'"),
        (["--choose", "best"], "invalid choice: 'best'"),
        (
            ["--to", "runs.xlsx"],
            "must be one of ['.csv', '.parquet', '.json', '.md', '.tex'], not '.xlsx'",
        ),
        (
            ["--rows", "scenario", "--to", "runs.csv"],
            "shape a table to read; .csv has a row per mean",
        ),
        (["--rows", "scenario"], "means share the cell of scenario glyphs-flip"),
        (["--rows", "scenario", "--best", "top"], "best must be one of"),
        (["--failed", "--mean"], "--failed lists failed runs"),
        (["--mean", "--where", "test_accuracy>50"], "is the outcome of single runs"),
        (["--mlflow", "sqlite:///x.db", "--mean"], "it goes without means and --to"),
        (["--limit", "-1"], "'-1' is no number of rows"),
        (["--to", "t.tex", "--where", "seed=7"], "there are no means"),
    ],
)
def test_mistakes(run, capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["results"]


def test_who_reads_may_stop_reading(run, monkeypatch):
    """As in `surgicalft results | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(["results"]) == 0


def test_a_file_that_cant_be_written(run, capsys, tmp_path):
    (tmp_path / "taken").touch()
    assert cli.main(["results", "--to", "taken/runs.csv"]) == 1
    assert "taken" in capsys.readouterr().err


def test_an_empty_store(run, capsys, tmp_path):
    Store(tmp_path / "empty.sqlite").close()
    assert run("--store", "empty.sqlite") == "no run of the 0 in empty.sqlite is asked for\n"
    assert run("--store", "empty.sqlite", "--mean", "--where", "seed=7").startswith(
        "no run of the 0"
    )
    run("--store", "empty.sqlite", "--sort", "seed", "--to", "empty.csv")
    assert len(pd.read_csv("empty.csv")) == 0


def test_on_a_terminal_lines_are_cut_to_its_width(run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    monkeypatch.setattr(results, "FEW", 3)
    text = run()
    assert max(map(len, text.splitlines())) <= 60
    assert "6 runs, of which 3 are shown" in text and "left out for want of width: " in text
