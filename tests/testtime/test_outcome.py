"""What a record tells of a stream, counted by hand."""

import math

import pytest
import torch

from surgicalft.testtime.outcome import Outcome


def outcome_of(predicted, labels):
    outcome = Outcome()
    for p, y in zip(predicted, labels, strict=True):
        outcome.add(torch.eye(4)[p] * 100, y)
    return outcome


def test_windows_of_fifty_and_a_rest():
    outcome = outcome_of([1] * 50 + [0, 1, 2], [1] * 25 + [0] * 25 + [0, 0, 2])
    record = outcome.record()
    assert record["n_test"] == 53 and record["test_accuracy"] == pytest.approx(100 * 27 / 53)
    first, rest = record["history"]
    assert first["images"] == 50 and first["correct"] == "1" * 25 + "0" * 25 and first["top"] == 1.0
    assert rest["images"] == 53 and rest["correct"] == "101" and rest["top"] == pytest.approx(1 / 3)
    assert "reset" not in first and record["metrics"] == {
        "entropy": pytest.approx(0, abs=1e-9),
        "resets": 0.0,
    }


def test_entropy_is_in_nats():
    outcome = Outcome()
    outcome.add(torch.zeros(4), 0)
    assert outcome.record()["metrics"]["entropy"] == pytest.approx(math.log(4))


def test_collapse_is_noted_once_and_resets_each_time():
    outcome = Outcome()
    for i in range(120):
        outcome.add(torch.eye(4)[0], 0)
        if i + 1 in (60, 110):
            outcome.note_collapse(reset=True)
    record = outcome.record()
    assert record["metrics"]["collapsed_at"] == 60 and record["metrics"]["resets"] == 2
    assert [window.get("reset", False) for window in record["history"]] == [False, True, True]


def test_its_state_gives_it_back():
    outcome = outcome_of([1, 2], [1, 1])
    outcome.note_collapse(reset=False)
    assert Outcome(**outcome.state()) == outcome
