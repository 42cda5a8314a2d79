"""Fine-tuning against a slow reference loop, and what it must refuse."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from small import network, small_splits

from surgicalft.blocks import Blocks
from surgicalft.finetune import Diverged, FineTune, fine_tune
from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled, Splits

SELECTIONS = ["all", "block 1", "block 2", "block 3", "last", "block 1:block 2", "first_layer"]
SETTINGS = FineTune(learning_rate=1e-2, epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def splits():
    return small_splits()


def tune(model, selection, splits, settings=SETTINGS, **more):
    return fine_tune(model, Blocks.of(model).select(selection), splits, settings, **more)


def reference(model, selection, splits, settings):
    """Equation 1 as one would first write it: every image through the whole network, every time."""
    model.eval()  # the policy "eval": stored statistics while tuning
    # Adam divides by a gradient's size, so that it makes rounding of a vanishing gradient visible: the same
    # memory format, hence the same order of sums, keeps such gradients equal.
    model.to(memory_format=torch.channels_last)
    chosen = set(Blocks.of(model).select(selection).parameters)
    parameters = [value for name, value in model.named_parameters() if name in chosen]
    optimizer = torch.optim.Adam(parameters, settings.learning_rate, weight_decay=1e-4)
    best, accuracies = (-math.inf, -math.inf), []
    for epoch in range(settings.epochs):
        order = torch.randperm(40, generator=generator("order", settings.seed, epoch))
        for index in order.split(settings.batch_size):
            images = (splits.tune.images[index] / 255).to(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(images), splits.tune.labels[index])
            model.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            outputs = model(splits.valid.images / 255)
        accuracies.append(100 * (outputs.argmax(1) == splits.valid.labels).double().mean().item())
        rank = (accuracies[-1], -F.cross_entropy(outputs, splits.valid.labels).item())
        if rank > best:
            best, state = rank, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    with torch.no_grad():
        correct = model(splits.test.images / 255).argmax(1) == splits.test.labels
    return accuracies, 100 * correct.double().mean().item()


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_equals_the_slow_reference(splits, selection, norm):
    fast, slow = network(norm), network(norm)
    tuned = tune(fast, selection, splits)
    accuracies, test_accuracy = reference(slow, selection, splits, SETTINGS)
    assert [h["valid_accuracy"] for h in tuned.history] == pytest.approx(accuracies)
    assert tuned.test_accuracy == pytest.approx(test_accuracy)
    for name, value in fast.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("selection", ["block 2", "last"])
def test_cut_and_plain_paths_agree(splits, selection):
    cut, plain = network(), network()
    with_cut = tune(cut, selection, splits)
    without = tune(plain, selection, splits, reuse=False)
    assert with_cut.epoch == without.epoch
    assert with_cut.test_accuracy == pytest.approx(without.test_accuracy)
    for name, value in cut.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


def test_batch_statistics_in_front_forbid_the_cut(splits):
    settings = FineTune(1e-2, epochs=2, batch_size=16, norm="train")
    models = [network(), network()]
    results = [
        tune(model, "last", splits, settings, reuse=reuse)
        for model, reuse in zip(models, (True, False), strict=True)
    ]
    assert results[0] == results[1]
    assert not torch.equal(
        models[0].layer1[0].bn1.running_mean, network().layer1[0].bn1.running_mean
    )
    assert torch.equal(models[0].layer1[0].bn1.running_mean, models[1].layer1[0].bn1.running_mean)


@pytest.mark.parametrize("selection", ["block 1", "block 2", "last"])
def test_only_the_selection_changes(splits, selection):
    model = network()
    before = copy.deepcopy(model.state_dict())
    chosen = set(Blocks.of(model).select(selection).parameters)
    tune(model, selection, splits)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == chosen


def test_the_chosen_epoch_is_the_best_and_its_weights_are_left(splits):
    model = network()
    tuned = tune(model, "all", splits, FineTune(3e-2, epochs=6, batch_size=8))
    ranks = [(h["valid_accuracy"], -h["valid_loss"]) for h in tuned.history]
    assert ranks[tuned.epoch - 1] == max(ranks)
    again = tune(model, "none", splits)
    assert again.valid_accuracy == pytest.approx(tuned.valid_accuracy)
    assert again.test_accuracy == pytest.approx(tuned.test_accuracy)


def test_none_and_no_epochs_leave_the_network_alone(splits):
    for selection, settings in (("none", SETTINGS), ("all", FineTune(0.1, epochs=0))):
        model = network()
        before = copy.deepcopy(model.state_dict())
        tuned = tune(model, selection, splits, settings)
        assert tuned.epoch == 0 and tuned.history == []
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_same_settings_same_bits_and_seeds_matter(splits):
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        tune(model, "block 2", splits, FineTune(1e-2, epochs=2, seed=seed))
    weights = [model.layer2[0].conv1.weight for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_divergence_keeps_the_history(splits):
    model = network()
    with pytest.raises(Diverged, match="epoch") as caught:
        tune(model, "all", splits, FineTune(1e30, epochs=5))
    assert len(caught.value.history) >= 1


def test_labels_beyond_the_outputs_are_refused(splits):
    wrong = Splits(splits.tune, splits.valid, Labelled(splits.test.images, splits.test.labels + 2))
    with pytest.raises(ValueError, match=r"test labels must lie in 0\.\.3.*found 2\.\.5"):
        tune(network(), "last", wrong)
