"""`which_block` says what direct calls of `fine_tune` say, chooses by validation, and leaves plain weights."""

import copy
import json

import pandas as pd
import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file
from toys import MEAN, STD, Toy, coloured

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.models.normalized import IMAGENET, Normalized
from surgicalft.own import which_block
from surgicalft.own.runs import OwnExecutor
from surgicalft.shifts.base import Labelled, Splits

QUICK = {"epochs": 2, "rates": (1e-1, 1e-2), "seeds": 2, "batch_size": 8, "progress": False}


def parts(n=30):
    return coloured(n, seed=1), coloured(n, seed=2), coloured(2 * n, seed=3)


def row(outcome, selection):
    return outcome.table.set_index("selection").loc[selection]


def test_the_same_numbers_as_direct_fine_tuning():
    data = parts()
    outcome = which_block(Toy(), *data, normalize=(MEAN, STD), **QUICK)
    assert list(outcome.table["selection"]) == ["block 1", "block 2", "last", "all", "none"]
    splits = Splits(*(Labelled(*part) for part in data))
    for name in outcome.table["selection"]:
        best = []
        for seed in (0, 1):
            tuned = []
            for rate in QUICK["rates"] if name != "none" else (0.0,):
                network = Normalized(Toy(), MEAN, STD)
                how = FineTune(rate, 0 if name == "none" else 2, 8, seed=seed)
                tuned.append(fine_tune(network, Blocks.of(network).select(name), splits, how))
            best.append(max(tuned, key=lambda t: (t.valid_accuracy, -t.valid_loss)))
        valid = pd.Series([tuned.valid_accuracy for tuned in best])
        test = pd.Series([tuned.test_accuracy for tuned in best])
        found = row(outcome, name)
        assert found["valid_accuracy"] == valid.mean() and found["test_accuracy"] == test.mean()
        assert found["test_accuracy_error"] == test.sem(ddof=1) == abs(test[0] - test[1]) / 2
        assert found["n"] == 2 and found["n_failed"] == 0


def test_the_model_given_stays_as_it_is():
    model = Toy()
    model.train()
    before = copy.deepcopy(model.state_dict())
    which_block(model, *parts(), **QUICK)
    assert model.training and all(p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_validation_alone_recommends():
    """Other test labels: other test accuracies, the same recommendation, rates and weights."""
    train, valid, (images, labels) = parts()
    permuted = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    one = which_block(Toy(), train, valid, (images, labels), **QUICK)
    other = which_block(Toy(), train, valid, (images, permuted), **QUICK)
    assert one.recommended == other.recommended and one.chosen.selection == other.chosen.selection
    same = ["selection", "learning_rates", "valid_accuracy", "valid_accuracy_error", "cost"]
    pd.testing.assert_frame_equal(one.table[same], other.table[same])
    assert not one.table["test_accuracy"].equals(other.table["test_accuracy"])


def erased(layer):
    """A toy that has learned colours, one of whose layers has forgotten: nothing passes it, back or forth."""
    data = Labelled(*coloured(300, seed=9))
    network = Toy()
    everything = Blocks.of(network).select("all")
    tuned = fine_tune(network, everything, Splits(data, data, data), FineTune(1e-2, 10))
    assert tuned.test_accuracy > 95
    with torch.no_grad():
        network.get_parameter(f"{layer}.weight").zero_()
        network.get_parameter(f"{layer}.bias").fill_(0.5)  # behind it, units are alive
    return network


@pytest.mark.parametrize(
    ("layer", "block", "kind"),
    [("first", "block 1", "input"), ("middle", "block 2", "feature"), ("fc", "last", "output")],
)
def test_finds_the_planted_shift(layer, block, kind):
    outcome = which_block(
        erased(layer), *parts(60), rates=(3e-2, 1e-2), seeds=2, epochs=8, progress=False
    )
    assert outcome.kind == kind and outcome.recommended in (block, "all")
    accuracy = outcome.table.set_index("selection")["test_accuracy"]
    assert accuracy[block] > 60
    assert accuracy.drop([block, "all"]).tolist() == pytest.approx([100 / 3] * 3)  # guessing


def test_a_stopped_comparison_goes_on_and_a_finished_one_computes_nothing(tmp_path, monkeypatch):
    store, done = tmp_path / "runs.sqlite", []
    real = OwnExecutor.__call__

    def counted(self, run):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(run)
        return real(self, run)

    monkeypatch.setattr(OwnExecutor, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        which_block(Toy(), *parts(), store=store, jobs=1, **QUICK)
    assert len(done) == 7
    monkeypatch.setattr(OwnExecutor, "__call__", real)
    whole = which_block(Toy(), *parts(), store=store, **QUICK)
    again = []
    monkeypatch.setattr(OwnExecutor, "__call__", lambda self, run: again.append(run))
    resumed = which_block(Toy(), *parts(), store=store, **QUICK)
    assert not again and resumed.records == whole.records
    monkeypatch.setattr(OwnExecutor, "__call__", real)
    fresh = which_block(Toy(), *parts(), **QUICK)
    timeless = fresh.table.columns.drop("seconds")
    pd.testing.assert_frame_equal(fresh.table[timeless], whole.table[timeless])


def test_other_weights_data_or_blocks_are_other_runs(tmp_path):
    def ids(model=None, data=None, **more):
        options = {"epochs": 1, "rates": (1e-2,), "seeds": 1, "progress": False, **more}
        outcome = which_block(model or Toy(), *(data or parts()), **options)
        return {record.id for record in outcome.records}

    base = ids()
    assert ids() == base
    train, valid, test = parts()
    images = train[0].clone()
    images[0, 0, 0, 0] ^= 1
    for other in (
        ids(Toy(seed=1)),
        ids(data=((images, train[1]), valid, test)),
        ids(data=(train, valid, (test[0], test[1].flip(0)))),
        ids(normalize=(MEAN, STD)),
        ids(patterns={"block 1": r"first\.|middle\.", "last": r"fc\."}),
        ids(Toy(dropout=0.5)),
    ):
        assert not other & base


def test_dropout_draws_the_same_each_time_and_runs_one_at_a_time():
    def table(jobs):
        torch.manual_seed(jobs)  # the process's own generator does not matter
        outcome = which_block(Toy(dropout=0.5), *parts(), jobs=jobs, **QUICK)
        return outcome.table.drop(columns="seconds")

    pd.testing.assert_frame_equal(table(1), table(2))


@pytest.mark.parametrize("jobs", [1, 3])
def test_parts_not_given_are_drawn_for_each_seed(jobs):
    outcome = which_block(Toy(), coloured(60), jobs=jobs, **QUICK)
    assert {record.n_test for record in outcome.records} == {12}
    assert outcome.settings["n_tune"] == 36 and outcome.settings["n_valid"] == 12
    assert "valid and test drawn from train for each seed" in outcome.settings["provenance"]


def test_diverging_rates_are_left_out_and_counted():
    outcome = which_block(Toy(), *parts(), **{**QUICK, "rates": (1e-2, 1e30)})
    assert row(outcome, "all")["n_failed"] == 2 and row(outcome, "all")["n"] == 2
    assert row(outcome, "all")["learning_rates"] == (1e-2, 1e-2)
    (note,) = (note for note in outcome.notes if note.startswith("all: "))
    assert note.startswith(
        "all: 2 of 4 runs failed and are left out; the first at learning rate 1e+30, seed 0: Div"
    )


def failing(monkeypatch, fails):
    """Runs that `fails` picks raise."""
    real = OwnExecutor.__call__

    def call(self, run):
        if fails(run):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, run)

    monkeypatch.setattr(OwnExecutor, "__call__", call)


@pytest.mark.parametrize("none_too", [False, True])
def test_nothing_to_compare_where_every_tuning_run_fails(monkeypatch, none_too):
    """No tuning that nothing was compared with is not recommended."""
    failing(monkeypatch, lambda run: none_too or run.selection != "none")
    message = (
        "every one of the 16 tuning runs failed; the first: OutOfMemoryError: CUDA out of memory$"
    )
    with pytest.raises(RuntimeError, match=message):
        which_block(Toy(), *parts(), **QUICK)


def test_a_run_that_fails_for_one_selection_only_is_told(monkeypatch):
    failing(monkeypatch, lambda run: run.selection == "block 2")
    outcome = which_block(Toy(), *parts(), **QUICK)
    assert outcome.recommended != "block 2" and row(outcome, "block 2")["n_failed"] == 4
    note = (
        "block 2: all 4 runs failed; the first at learning rate 0.1, seed 0: OutOfMemoryError: CUDA out of memory. "
        "Without a result for seeds 0, 1 it is not recommended."
    )
    assert note in outcome.notes and note in str(outcome)
    assert outcome.figure() is not None


def test_seeds_that_fail_everywhere_leave_nothing_to_recommend(monkeypatch):
    failing(monkeypatch, lambda run: run.selection != "none" and run.seed == 1)
    with pytest.raises(
        RuntimeError, match=r"finished run for each seed.* block 1: 2 of 4 runs failed"
    ):
        which_block(Toy(), *parts(), **QUICK)


class Detached(Toy):
    """No gradient reaches its weights."""

    def forward(self, images):
        return super().forward(images).detach()


class HalfDetached(Toy):
    """No gradient reaches the first two layers."""

    def forward(self, images):
        x = self.middle(torch.relu(self.first(images))).relu().mean((2, 3))
        return self.fc(x.detach())


def test_what_cannot_learn_has_not_been_tuned():
    with pytest.raises(
        RuntimeError, match=r"16 tuning runs failed.*does not depend on the tensors of 'block 1'"
    ):
        which_block(Detached(), *parts(), **QUICK)
    outcome = which_block(HalfDetached(), *parts(), **QUICK)
    assert [row(outcome, name)["n"] for name in ("block 1", "block 2", "last", "all")] == [
        0,
        0,
        2,
        2,
    ]
    assert any("block 2: all 4 runs failed" in note for note in outcome.notes)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_saved_weights_load_into_the_plain_network(library, tmp_path):
    def make():
        if library == "timm":
            return timm.create_model("resnet10t", num_classes=3)
        return torchvision.models.shufflenet_v2_x0_5(num_classes=3)

    torch.manual_seed(0)
    model = make()
    data = tuple(coloured(n, seed=n, size=32) for n in (12, 6, 9))
    first = ["block 1"] if library == "timm" else ["stem"]
    outcome = which_block(
        model,
        *data,
        selections=first,
        seeds=1,
        epochs=1,
        rates=(1e-3,),
        progress=False,
    )
    path = outcome.save(tmp_path / "tuned.safetensors")
    plain = make()
    plain.load_state_dict(load_file(path), strict=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    images = (data[2][0].float() / 255 - mean) / std
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), outcome.model(images))
        right = (plain(images).argmax(1) == data[2][1]).double().mean().item()
    assert 100 * right == pytest.approx(row(outcome, outcome.recommended)["test_accuracy"])
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, plain.get_parameter(n))}
    assert changed <= set(Blocks.of(model).select(outcome.recommended).parameters)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["surgicalft"])
    assert (
        about["recommended"] == outcome.recommended and about["model"] == outcome.settings["model"]
    )


def test_a_new_head_is_tuned_along():
    model = timm.create_model("test_vit", num_classes=5, img_size=32)
    data = tuple(coloured(n, seed=n, size=32) for n in (12, 6, 9))
    options = {"seeds": 1, "epochs": 1, "rates": (1e-3,), "progress": False}
    with pytest.raises(ValueError, match=r"0\.\.1, the network's outputs; found 0\.\.2.*new_head"):
        which_block(timm.create_model("test_vit", num_classes=2, img_size=32), *data, **options)
    outcome = which_block(model, *data, new_head=True, **options)
    body = Blocks.of(model).names[:-1]
    names = [*(f"{block}+last" for block in body), "last", "all", "none"]
    assert list(outcome.table["selection"]) == names
    assert outcome.notes[0].startswith("The last layer is new: `none` is guessing")
    assert outcome.model.num_classes == 3 and model.num_classes == 5
    unused = which_block(model, *data, **options, selections=["last"])
    assert unused.notes[0].startswith("The network has 5 outputs, the labels end at 2")


def test_a_new_head_of_a_network_that_is_not_timms():
    data = parts()
    model = Toy(classes=2)
    outcome = which_block(model, *data, new_head=True, **QUICK)
    assert outcome.model.fc.weight.shape == (3, 6) and model.fc.weight.shape == (2, 6)
    assert outcome.table["test_accuracy"].max() > 45
    patterns = {"stem": r"first\.", "the rest": r"(?!first)"}
    with pytest.raises(
        ValueError, match=r"last block that is one nn\.Linear, but 'the rest' holds"
    ):
        which_block(model, *data, new_head=True, patterns=patterns, **QUICK)


def test_what_is_written(tmp_path):
    outcome = which_block(Toy(), *parts(), name="colours", **QUICK)
    stem = tmp_path / "out" / "colours"
    files = outcome.write(stem)
    assert files == [stem.with_suffix(end) for end in (".csv", ".md", ".json", ".png")]
    assert all(file.stat().st_size for file in files)
    read = pd.read_csv(files[0], float_precision="round_trip")
    assert read["test_accuracy"].tolist() == outcome.table["test_accuracy"].tolist()
    for text in (str(outcome), files[1].read_text(), outcome._repr_markdown_()):
        assert f"**{outcome.recommended}** ✓" in text and outcome.explanation in text
    with pytest.raises(ValueError, match=r"suffix of weights must be one of \['.safetensors'\]"):
        outcome.save(tmp_path / "weights.pt")
