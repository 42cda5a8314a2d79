"""Tuning in bfloat16: autocast where it is asked for, weights and sums in float32, features told apart."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import small
import torch
import torch.nn.functional as F
from small import small_splits

from surgicalft.blocks import Blocks
from surgicalft.evaluate import ImageForm, to_float
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.freezing import freeze
from surgicalft.memory import Memory
from surgicalft.precision import PRECISIONS, autocast
from surgicalft.runs import Run
from surgicalft.settings import as_dict
from surgicalft.trial import Conditions, find_plan

RUN = Run("glyphs-flip", "memo-resnet26-gn", "all", 1e-3)
HOW = {"learning_rate": 1e-2, "epochs": 1, "batch_size": 40}


@pytest.fixture(scope="module")
def splits():
    return small_splits()


@pytest.fixture
def network():
    return small.network()


def tune(network, splits, selection, precision, **more):
    model = copy.deepcopy(network)
    how = FineTune(**HOW, precision=precision)
    return model, fine_tune(model, Blocks.of(model).select(selection), splits, how, **more)


@pytest.mark.parametrize("selection", ["block 1", "block 3", "last", "all"])
def test_a_step_is_that_of_autocast_on_the_whole_network(network, splits, selection):
    """One batch of all images: the gradient of a plain pass in bfloat16, to bfloat16's rounding."""
    plain = copy.deepcopy(network).to(memory_format=torch.channels_last)
    chosen = Blocks.of(plain).select(selection)
    freeze(plain, chosen)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = plain(to_float(splits.tune.images))
    expected = F.cross_entropy(outputs.float(), splits.tune.labels).item()
    _, half = tune(network, splits, selection, "bfloat16")
    _, single = tune(network, splits, selection, "float32")
    assert half.history[0]["train_loss"] == pytest.approx(expected, rel=0.01)
    assert half.history[0]["train_loss"] == pytest.approx(single.history[0]["train_loss"], rel=0.02)
    assert half.history[0]["valid_loss"] != single.history[0]["valid_loss"]  # it was in force


def test_weights_and_what_is_reported_stay_in_float32(network, splits):
    tuned, found = tune(network, splits, "all", "bfloat16", reuse=False)
    assert {p.dtype for p in tuned.parameters()} == {torch.float32}
    _, again = tune(network, splits, "all", "bfloat16")
    assert found.valid_loss == pytest.approx(again.valid_loss, rel=0.02)  # the plain path agrees


def test_outputs_of_both_precisions_are_kept_apart(network, splits):
    chosen = Blocks.of(network).select("last")
    freeze(network, chosen)
    memory, images, kinds = Memory(), {"tune": splits.tune.images}, []
    for precision in PRECISIONS:
        how = Conditions(passes=partial(autocast, precision))
        plan = find_plan(network, chosen.parameters, torch.rand(4, 3, 16, 16), how)
        kept = memory.outputs(plan, network, images, ImageForm(), "cpu", precision)["tune"]
        kinds.append([value.dtype for value in kept[:8].values()])
    assert kinds == [[torch.float32], [torch.bfloat16]]


def test_it_ends_with_the_pass(network):
    with autocast("bfloat16"):
        assert torch.is_autocast_enabled("cpu")
    with autocast("float32"):
        assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("make", [FineTune, lambda rate, **more: replace(RUN, **more)])
def test_an_unknown_precision_is_named_with_the_legal_ones(make):
    legal = r"precision must be one of \['float32', 'bfloat16'\], not 'half'"
    with pytest.raises(ValueError, match=legal):
        make(1e-3, precision="half")


def test_runs_in_float32_keep_their_identity():
    assert "precision" not in as_dict(RUN)
    assert as_dict(replace(RUN, precision="bfloat16"))["precision"] == "bfloat16"
