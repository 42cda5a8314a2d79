"""What each method lets learn, and how fast."""

import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.methods import METHODS, Situation, make_method
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.probe import Probe
from surgicalft.shifts.base import Labelled
from surgicalft.tensor_kinds import norm_tensors


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ResNetCifar(8, widths=(8, 8, 16), norm="group", classes=4)


@pytest.fixture(scope="module")
def tune():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 16, 16), generator=random, dtype=torch.uint8)
    return Labelled(images, torch.randint(0, 4, (40,), generator=random))


@pytest.fixture
def situation(network, tune):
    def make(epoch=0, epochs=8, selection="all", previous=None):
        chosen = Blocks.of(network).select(selection)
        probe = Probe(network, chosen.parameters, tune, 16, 0)
        return Situation(network, chosen, epoch, epochs, probe, previous=previous)

    return make


def learning_blocks(network, plan):
    blocks = Blocks.of(network)
    return [name for name in blocks if set(blocks.parameters(name)) & set(plan.rates)]


def test_surgical_tunes_the_selection_at_the_full_rate(situation, network):
    plan = make_method("surgical").plan(situation(selection="block 2"))
    assert plan.rates == dict.fromkeys(Blocks.of(network).parameters("block 2"), 1.0)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("gradual-first-last", ["block 1", "block 2", "block 3", "last"]),
        ("gradual-last-first", ["last", "block 3", "block 2", "block 1"]),
    ],
)
def test_gradual_unfreezing_shares_the_epochs_evenly(situation, network, name, order):
    for epoch in range(8):
        plan = make_method(name).plan(situation(epoch))
        awake = set(order[: epoch // 2 + 1])
        assert set(learning_blocks(network, plan)) == awake
        assert set(plan.rates.values()) == {1.0}


def test_gradual_unfreezing_with_fewer_epochs_than_blocks_ends_with_all_of_them(situation, network):
    plan = make_method("gradual-first-last").plan(situation(2, epochs=3))
    assert learning_blocks(network, plan) == ["block 1", "block 2", "block 3", "last"]
    within = make_method("gradual-last-first").plan(situation(0, selection="block 1:block 2"))
    assert learning_blocks(network, within) == ["block 2"]


def test_the_penalty_of_the_starting_point():
    start = {"a": torch.zeros(2), "b": torch.ones(3)}
    now = {"a": torch.tensor([1.0, -2.0], requires_grad=True), "b": torch.ones(3)}
    l1 = make_method("l1-sp", strength=0.5).penalty(now, start)
    assert l1.item() == 1.5
    assert torch.equal(torch.autograd.grad(l1, now["a"])[0], torch.tensor([0.5, -0.5]))
    assert make_method("l1-sp", "l2", 0.5).penalty(now, start).item() == 0.5 * 5 / 2
    assert make_method("l1-sp").penalty({}, start) is None  # where all is frozen
    assert make_method("surgical").penalty(now, start) is None


def test_lp_ft_changes_over_half_way(situation, network):
    method = make_method("lp-ft")
    assert learning_blocks(network, method.plan(situation(3))) == ["last"]
    assert set(method.plan(situation(3)).rates.values()) == {10.0}
    after = method.plan(situation(4))
    assert len(learning_blocks(network, after)) == 4 and after.reset
    assert not method.plan(situation(5)).reset


def ratios(network, gradients):
    parameters = dict(network.named_parameters())
    return {name: (g.norm() / parameters[name].norm()).item() for name, g in gradients.items()}


@pytest.fixture(scope="module")
def biased(network):
    """Group normalisation starts with shifts of zero, which have no relative gradient norm."""
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("bias"):
                value.fill_(0.1)
    return network


def test_auto_rgn_is_equation_3(situation, network, biased):
    now = situation(selection="block 3:last")
    batches = now.probe.gradients(5)
    mean = {name: sum(b[name] for b in batches) / len(batches) for name in batches[0]}
    expected = ratios(network, mean)
    largest = max(expected.values())
    plan = make_method("auto-rgn").plan(now)
    assert plan.rates == pytest.approx({n: v / largest for n, v in expected.items()}, rel=1e-5)
    assert max(plan.rates.values()) == 1 and not plan.reset


def test_the_authors_auto_rgn_averages_ratios_and_leaves_normalisation_alone(
    situation, network, biased
):
    now = situation()
    each = [ratios(network, gradients) for gradients in now.probe.gradients(5)]
    norms = set(norm_tensors(network))
    mean = {n: sum(r[n] for r in each) / len(each) for n in each[0] if n not in norms}
    plan = make_method("auto-rgn", "code").plan(now)
    largest = max(mean.values())
    assert plan.rates == pytest.approx({n: v / largest for n, v in mean.items()}, rel=1e-5)
    assert plan.reset


def test_auto_rgn_after_the_head(situation, network, biased):
    method = make_method("auto-rgn", "after-head")
    assert learning_blocks(network, method.plan(situation(0, epochs=10))) == ["last"]
    assert method.plan(situation(2, epochs=10)) == make_method("auto-rgn").plan(
        situation(2, epochs=10)
    )


@pytest.mark.parametrize("variant", ["", "code"])
def test_auto_snr_freezes_more_the_higher_the_threshold(situation, network, variant):
    counts = []
    for threshold in (0.0, 0.01, 0.3, 1.0):
        plan = make_method("auto-snr", variant, threshold).plan(situation())
        assert set(plan.rates.values()) <= {1.0}
        counts.append(len(plan.rates))
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]
    if not variant:
        assert counts[0] == len(list(network.parameters())) and counts[-1] == 1


def test_a_threshold_that_the_authors_auto_snr_never_reaches_freezes_everything(situation):
    assert make_method("auto-snr", "code", 1e9).plan(situation()).rates == {}


@pytest.mark.parametrize("name", ["auto-rgn", "auto-snr"])
def test_the_authors_variants_refuse_a_selection_of_normalisation_alone(situation, name):
    with pytest.raises(ValueError, match="'norms' holds tensors of normalisation layers only"):
        make_method(name, "code").plan(situation(selection="norms"))


def test_auto_fisher_keeps_to_one_block(situation, network):
    method = make_method("auto-fisher")
    first = method.plan(situation())
    assert len(learning_blocks(network, first)) == 1
    assert method.plan(situation(1, previous=first)) is first


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"method must be one of .*'auto-rgn'.*not 'rgn'"):
        make_method("rgn")
    with pytest.raises(ValueError, match=r"variant of AutoRGN must be one of .*'code'.*not 'text'"):
        make_method("auto-rgn", "text")
    with pytest.raises(ValueError, match=r"AutoRGN takes no strength, but was given 0\.1"):
        make_method("auto-rgn", strength=0.1)
    with pytest.raises(ValueError, match=r"strength of L1SP must lie in 0\.\.inf, not -1"):
        make_method("l1-sp", strength=-1.0)
    with pytest.raises(ValueError, match=r"threshold of AutoSNR must lie in 0\.\.1, not 1\.5"):
        make_method("auto-snr", strength=1.5)
    with pytest.raises(ValueError, match="must lie in"):
        make_method("l1-sp", strength=float("nan"))


def test_every_method_says_what_it_does():
    assert all(method.__doc__ for method in METHODS.values())
