"""Episodic and online adaptation against a plain loop, and what they promise about weights and memory."""

import copy

import plain_memo
import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.testtime.augment import AugMix
from surgicalft.testtime.episodic import Episodic, FirstStep
from surgicalft.testtime.memo import Learner, Memo
from surgicalft.testtime.online import Online

NETWORKS = ("resnet8-gn-w8", "resnet8-bn-w8")
SELECTIONS = ("all", "first_layer", "first_2_layers", "block 1", "block 2", "last", "norms")
N, SEEDS = 6, (11, 12, 13, 14, 15, 16)


@pytest.fixture(scope="module")
def images():
    return torch.randint(
        0, 256, (N, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def network_of(name):
    return build(name, 10, seed=0).eval()


def memo_of(**settings):
    return Memo(**{"learning_rate": 0.01, "optimizer": "sgd", "augmentations": 4, **settings})


def logs(logits):
    return torch.as_tensor(logits).log_softmax(-1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_episodes_are_those_of_a_plain_loop(images, name, selection):
    network, memo = network_of(name), memo_of(steps=2, weight_decay=0.1)
    tuned = Blocks.of(network).select(selection)
    ours = Episodic(network, tuned, memo)(images, SEEDS)
    plain = plain_memo.episodic(network, tuned.parameters, memo, images, SEEDS)
    torch.testing.assert_close(logs(ours), plain, rtol=1e-3, atol=1e-4)
    assert (plain - plain_memo.predict(network, images[0])).abs().max() > 1e-3  # it does adapt


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_stream_is_that_of_a_plain_loop(images, name, selection):
    network, memo = network_of(name), memo_of(steps=2)
    tuned = Blocks.of(network).select(selection)
    ours = torch.stack(list(Online(network, tuned, memo)(images, SEEDS)))
    plain = plain_memo.online(network, tuned.parameters, memo, images, SEEDS)
    torch.testing.assert_close(logs(ours), plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_adaptive_optimisers_step_as_in_a_plain_loop(images, optimizer):
    network = network_of("resnet8-gn-w8")
    memo = memo_of(optimizer=optimizer, learning_rate=1e-3, steps=2, weight_decay=0.01)
    tuned = Blocks.of(network).select("last")  # its gradients are nowhere near Adam's epsilon
    for ours, plain in ((Episodic, plain_memo.episodic), (Online, plain_memo.online)):
        outputs = torch.stack(list(ours(network, tuned, memo)(images, SEEDS)))
        expected = plain(network, tuned.parameters, memo, images, SEEDS)
        torch.testing.assert_close(logs(outputs), expected, rtol=1e-3, atol=1e-4)


def test_an_episode_remembers_neither_weights_nor_optimiser(images):
    network = network_of("resnet8-gn-w8")
    memo = memo_of(optimizer="adamw", learning_rate=1e-2)
    tuned = Blocks.of(network).select("all")
    together = Episodic(network, tuned, memo)(images, SEEDS)
    alone = torch.cat(
        [Episodic(network, tuned, memo)(images[i : i + 1], SEEDS[i : i + 1]) for i in range(N)]
    )
    assert torch.equal(together, alone)


def test_the_network_given_is_left_alone(images):
    network = network_of("resnet8-bn-w8")
    before = copy.deepcopy(network.state_dict())
    tuned = Blocks.of(network).select("all")
    list(Online(network, tuned, memo_of())(images, SEEDS))
    Episodic(network, tuned, memo_of())(images, SEEDS)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_runs_that_share_the_first_step_get_the_same_bits(images, name, selection):
    network = network_of(name)
    blocks = Blocks.of(network)
    memo = memo_of(optimizer="adamw", steps=2)
    first = FirstStep(network, blocks.select("all"), memo_of())
    tuned = blocks.select(selection)
    alone = Episodic(network, tuned, memo)(images, SEEDS)
    Episodic(network, blocks.select("all"), memo_of(), first)(images, SEEDS)
    assert torch.equal(Episodic(network, tuned, memo, first)(images, SEEDS), alone)


def test_the_first_step_is_computed_once(images, monkeypatch):
    network, count = network_of("resnet8-gn-w8"), []
    gradients = Learner.gradients
    monkeypatch.setattr(Learner, "gradients", lambda *a: count.append(1) or gradients(*a))
    tuned = Blocks.of(network).select("all")
    first = FirstStep(network, tuned, memo_of())
    for rate in (0.1, 0.01):
        Episodic(network, tuned, memo_of(learning_rate=rate), first=first)(images, SEEDS)
    assert len(count) == N
    no_room = FirstStep(network, tuned, memo_of(), limit=0)
    for rate in (0.1, 0.01):
        Episodic(network, tuned, memo_of(learning_rate=rate), first=no_room)(images, SEEDS)
    assert len(count) == 3 * N


def test_bits_do_not_depend_on_the_number_of_threads(images):
    network = network_of("resnet8-gn-w8")
    tuned, threads, found = Blocks.of(network).select("all"), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(Episodic(network, tuned, memo_of())(images, SEEDS))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_frozen_weights_get_no_gradient_and_those_behind_none_either(images):
    network = network_of("resnet8-gn-w8")
    learner = Learner(network, Blocks.of(network).select("first_layer"), memo_of())
    views = memo_of().draw(images[:1], [0])[0]
    gradients = learner.gradients(learner.ready(views))
    assert [g.shape for g in gradients] == [network.conv1.weight.shape]
    assert [n for n, p in network.named_parameters() if p.requires_grad] == ["conv1.weight"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_low_precision_gives_nearly_the_same_gradients_and_the_same_prediction(
    images, name, selection
):
    found = {}
    for precision in ("float32", "bfloat16"):
        network, memo = network_of(name), memo_of(precision=precision)
        learner = Learner(network, Blocks.of(network).select(selection), memo)
        views = memo.draw(images[:1], [0])[0]
        learner.prepare(views[:4], 1)
        ready = learner.ready(views, precision)
        gradients = torch.cat([g.flatten() for g in learner.gradients(ready)])
        assert gradients.dtype == torch.float32
        found[precision] = gradients, learner.predict(learner.ready(images[:1] / 255))
    (exact, prediction), (rough, same) = found["float32"], found["bfloat16"]
    assert torch.equal(prediction, same)
    assert not torch.equal(exact, rough)
    assert torch.cosine_similarity(exact, rough, dim=0) > 0.9


@pytest.mark.parametrize("kind", [Episodic, Online])
def test_low_precision_reaches_the_views(images, kind):
    def adapted(precision):
        network = network_of("resnet8-gn-w8")
        memo = memo_of(precision=precision, learning_rate=0.1)
        return torch.stack(list(kind(network, Blocks.of(network).select("all"), memo)(images)))

    exact, rough = adapted("float32"), adapted("bfloat16")
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.1)


def test_a_selection_without_tensors_is_refused():
    network = network_of("resnet8-gn-w8")
    nothing = Blocks.of(network).select("none")
    for kind in (Episodic, Online):
        with pytest.raises(ValueError, match="'none' has no tensors"):
            kind(network, nothing, memo_of())


def test_images_that_are_none_are_refused(images):
    network = network_of("resnet8-gn-w8")
    tuned, broken = Blocks.of(network).select("last"), images.float() / 0
    for adapt in (Episodic(network, tuned, memo_of()), Online(network, tuned, memo_of())):
        for bad, message in (
            (images[:0], "empty"),
            (broken, "not finite"),
            (images.int(), "int32"),
        ):
            with pytest.raises(ValueError, match=message):
                list(adapt(bad))
        with pytest.raises(ValueError, match="6 images need a seed each, not 2"):
            list(adapt(images, SEEDS[:2]))


def test_a_stream_stays_at_its_size(images):
    network = network_of("resnet8-gn-w8")
    online = Online(network, Blocks.of(network).select("last"), memo_of())
    list(online(images[:1]))
    with pytest.raises(ValueError, match=r"images are \(3, 32, 32\), not \(3, 16, 16\)"):
        list(online(images[:1, :, :16, :16]))


def test_numbers_in_0_to_1_are_taken_as_their_bytes(images):
    network = network_of("resnet8-gn-w8")
    for kind in (Episodic, Online):
        outputs = [
            list(kind(network, Blocks.of(network).select("last"), memo_of())(x))
            for x in (images, images.float() / 255)
        ]
        assert all(map(torch.equal, *outputs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentations": 0}, "augmentations must be 1 or more, not 0"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and 0 or more"),
        ({"optimizer": "rprop"}, "optimizer must be one of"),
        ({"precision": "int8"}, "precision must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        memo_of(**settings)


def test_views_differ_by_step_and_seed(images):
    memo = Memo(0.1, augmentations=3, views=AugMix())
    one, other = memo.draw(images[:1], [1], 0), memo.draw(images[:1], [1], 1)
    assert not torch.equal(one, other) and not torch.equal(one, memo.draw(images[:1], [2], 0))
    assert torch.equal(one, memo.draw(images[:1], [1], 0))
