"""Collapse is certainty about one class over a whole window, and nothing less."""

import pytest
import torch

from surgicalft.testtime.collapse import Collapse, Watch

SURE, UNSURE = 50.0, 0.1
RULE = Collapse(window=10, share=0.9, certainty=0.1)


def prediction(label, strength):
    return strength * torch.eye(5)[label]


def seen(labels, strength):
    watch = Watch(RULE)
    return [watch(prediction(label, strength)) for label in labels]


def test_one_class_with_certainty_is_collapse_once_the_window_is_full():
    assert seen([2] * 12, SURE) == [False] * 9 + [True] * 3


def test_one_class_without_certainty_is_not():
    assert not any(seen([2] * 30, UNSURE))


def test_certainty_about_several_classes_is_not():
    assert not any(seen([0, 1, 2, 3, 4] * 6, SURE))
    assert not any(seen([0] * 8 + [1, 2], SURE))


def test_the_share_need_not_be_all():
    assert seen([0] * 9 + [1], SURE)[-1]


def test_what_was_before_a_reset_is_forgotten_and_a_state_is_not():
    watch = Watch(RULE)
    for _ in range(9):
        watch(prediction(0, SURE))
    other = Watch(RULE)
    other.load_state(watch.state())
    watch.forget()
    assert not watch(prediction(0, SURE)) and other(prediction(0, SURE))


@pytest.mark.parametrize(
    "settings", [{"window": 0}, {"share": 0.0}, {"share": 1.5}, {"certainty": -1.0}]
)
def test_rules_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Collapse(**settings)
