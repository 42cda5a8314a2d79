"""Adapters against a loop without peft, and what they may change. Needs the extra `lora`."""

import copy
import math
import sys

import pytest
import torch
import torch.nn.functional as F
from small import labelled, network
from torch import nn
from torch.func import functional_call

from surgicalft.blocks import Blocks, Selection
from surgicalft.cost import costs_of
from surgicalft.evaluate import to_float
from surgicalft.finetune import Diverged, FineTune
from surgicalft.lora import (
    adaptable,
    fine_tune_lora,
    import_peft,
    inject,
)
from surgicalft.memory import Memory
from surgicalft.seeds import generator
from surgicalft.shifts.base import Labelled, Splits

SETTINGS = FineTune(learning_rate=1e-2, epochs=3, batch_size=16)
IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _needs_peft(request):
    if "absent" not in request.node.name:
        pytest.importorskip("peft", reason="needs the extra lora")


@pytest.fixture(scope="module")
def splits():
    """Some of the tuning images validate, so that later epochs are better."""
    tune = labelled(40, 0)
    return Splits(tune, Labelled(tune.images[:24], tune.labels[:24]), labelled(30, 2))


@pytest.fixture
def double(monkeypatch):
    """64 bits: Adam makes large steps of small gradients, and of their rounding."""
    for part in ("training", "memory", "finetune", "lora"):
        name = f"surgicalft.{part}.to_float"
        monkeypatch.setattr(name, lambda *images: to_float(*images).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def tune(model, splits, selection="all", settings=SETTINGS, **more):
    return fine_tune_lora(model, Blocks.of(model).select(selection), splits, settings, **more)


# --- what is computed


def merged(weights, low, high):
    """W + B A, written out for matrices and for kernels."""
    delta = torch.einsum("or,ri...->oi...", high.flatten(1), low)
    return weights + delta


def reference(model, layers, rank, splits, settings):
    """Without peft, without a cut: adapters of these layers, every image through the whole network."""
    model.eval().to(memory_format=torch.channels_last)
    fixed = {name: value.detach() for name, value in model.state_dict().items()}
    random, low, high = generator("lora", settings.seed), {}, {}
    for name in layers:
        weight = fixed[f"{name}.weight"]
        shape = (rank, *weight.shape[1:])
        bound = 1 / math.sqrt(weight[0].numel())
        low[name] = torch.empty(shape).uniform_(-bound, bound, generator=random).requires_grad_()
        high[name] = torch.zeros(len(weight), rank, requires_grad=True)
    learning = [part[name] for name in layers for part in (low, high)]
    optimizer = torch.optim.Adam(learning, settings.learning_rate, weight_decay=1e-4)

    def weights():
        changed = {f"{n}.weight": merged(fixed[f"{n}.weight"], low[n], high[n]) for n in layers}
        return {**fixed, **changed}

    best = (-math.inf, -math.inf)
    for epoch in range(settings.epochs):
        order = torch.randperm(40, generator=generator("order", settings.seed, epoch))
        for index in order.split(settings.batch_size):
            outputs = functional_call(model, weights(), (splits.tune.images[index] / 255,))
            optimizer.zero_grad()
            F.cross_entropy(outputs, splits.tune.labels[index]).backward()
            optimizer.step()
        with torch.no_grad():
            found = weights()
            outputs = functional_call(model, found, (splits.valid.images / 255,))
        correct = (outputs.argmax(1) == splits.valid.labels).double().mean().item()
        rank_now = (correct, -F.cross_entropy(outputs, splits.valid.labels).item())
        if rank_now > best:
            best, chosen, state = rank_now, epoch + 1, copy.deepcopy(found)
    return chosen, state


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("selection", ["all", "block 2", "last"])
def test_equals_the_slow_reference(splits, norm, selection, double):
    fast, slow = network(norm), network(norm)
    chosen = Blocks.of(fast).select(selection)
    layers = adaptable(fast, chosen, IMAGE.double())
    tuned = fine_tune_lora(fast, chosen, splits, SETTINGS, rank=2)
    epoch, state = reference(slow, layers, 2, splits, SETTINGS)
    assert tuned.epoch == epoch > 1
    for name, value in fast.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("selection", ["block 2", "last"])
def test_memory_changes_nothing_but_rounding(splits, selection):
    cut, plain = network(), network()
    memory, nothing = Memory(), Memory(max_bytes=0, max_file_bytes=0)
    one = tune(cut, splits, selection, memory=memory)
    other = tune(plain, splits, selection, memory=nothing)
    assert "answer from memory" in one.reuse and "fit neither" in other.reuse
    assert one.epoch == other.epoch
    for name, value in cut.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


def test_outputs_are_shared_between_runs(splits):
    model = network()
    memory = Memory()
    selection = "tensors:layer2.0.conv1.weight"
    tune(network(), splits, selection, memory=memory)
    held = memory.nbytes
    tune(model, splits, selection, memory=memory)
    assert memory.nbytes == held > 0


# --- what is left behind


def test_the_network_is_itself_again(splits):
    model, start = network(), network().state_dict()
    parameters, kinds = dict(model.named_parameters()), list(map(type, network().modules()))
    attributes = set(vars(model))
    tuned = tune(model, splits, "block 2:last", rank=2)
    assert list(model.state_dict()) == list(start)
    assert all(model.get_parameter(name) is value for name, value in parameters.items())
    assert set(vars(model)) == attributes
    model.train()
    assert [kind.__name__ for kind in map(type, model.modules())] == [k.__name__ for k in kinds]
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, start[n])}
    inside = [n for n in Blocks.of(model).select("block 2:last").parameters if n.endswith("weight")]
    assert changed == {n for n in inside if start[n].ndim > 1} and tuned.epoch >= 1
    assert {n for n, p in model.named_parameters() if p.requires_grad} == changed
    for name in changed:
        delta = (model.get_parameter(name) - start[name]).double()
        values = torch.linalg.svdvals(delta.flatten(1))
        assert (values > 1e-5 * values[0]).sum() <= 2, f"{name} changed by more than rank 2"


def test_the_merged_network_gives_the_outputs_that_were_measured(splits):
    model = network()
    tuned = tune(model, splits)
    model.eval()
    with torch.no_grad():
        valid, test = (model(part.images / 255) for part in (splits.valid, splits.test))
    assert tuned.valid_loss == pytest.approx(F.cross_entropy(valid, splits.valid.labels).item())
    correct = (test.argmax(1) == splits.test.labels).double().mean().item()
    assert tuned.test_accuracy == pytest.approx(100 * correct)
    assert tuned.valid_loss != tuned.history[0]["valid_loss"] or tuned.epoch == 1


def test_base_weights_never_move_and_divergence_leaves_them(splits):
    model, start = network("group"), network("group").state_dict()
    with pytest.raises(Diverged):
        tune(model, splits, settings=FineTune(1e30, 3, 16))
    assert list(model.state_dict()) == list(start)
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())


def test_no_epoch_changes_nothing(splits):
    model, start = network(), network().state_dict()
    tuned = tune(model, splits, settings=FineTune(1e-2, 0, 16))
    assert tuned.epoch == 0 and tuned.history == []
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())


def test_tuning_again_adds_to_the_merged_weights(splits):
    model = network()
    tune(model, splits)
    once = copy.deepcopy(model.state_dict())
    tune(model, splits, settings=FineTune(1e-2, 0, 16))
    assert all(torch.equal(value, once[name]) for name, value in model.state_dict().items())


# --- chance


def test_seeds(splits):
    ends = []
    for seed in (0, 0, 1):
        model, how = network(), FineTune(1e-2, 1, 16, seed=seed)
        random = torch.get_rng_state()
        tune(model, splits, settings=how)
        assert torch.equal(torch.get_rng_state(), random)
        torch.rand(1)  # another global state for the next
        ends.append(model.conv1.weight.detach())
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_a_is_uniform_and_b_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 40))
    adapters = inject(model, ["1"], 32, seed=0)
    low, high = (model.get_parameter(name) for name in adapters)
    assert low.shape == (32, 768) and high.shape == (40, 32) and not high.any()
    bound = 1 / math.sqrt(768)
    assert low.abs().max() <= bound
    assert low.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


# --- bad input


@pytest.mark.parametrize("selection", ["norms", "biases", "none"])
def test_a_selection_without_weights_for_adapters(splits, selection):
    model, start = network(), network().state_dict()
    with pytest.raises(ValueError, match=rf"selection '{selection}' of ResNetCifar .*nn\.Linear"):
        tune(model, splits, selection)
    assert list(model.state_dict()) == list(start)


@pytest.mark.parametrize("rank", [0, -3])
def test_rank_below_one(splits, rank):
    with pytest.raises(ValueError, match=f"rank must be 1 or more, not {rank}"):
        tune(network(), splits, rank=rank)


def test_peft_absent(splits, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'surgicalft\[lora\]'"):
        import_peft()
    model, start = network(), network().state_dict()
    with pytest.raises(ModuleNotFoundError, match="peft is not installed"):
        tune(model, splits)
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())


def test_forward_passes_by_hand():
    """In passes of the plain network: 2 x 48 x 8 and 2 x 8 x 4 operations; adapters of rank 1 in the second layer."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 4))
    random = torch.Generator().manual_seed(0)
    parts = (
        Labelled(
            torch.randint(0, 256, (n, 3, 4, 4), generator=random, dtype=torch.uint8),
            torch.arange(n) % 4,
        )
        for n in (10, 6, 4)
    )
    known = Splits(*parts)
    costs = costs_of(model, known.tune.images)
    chosen = Selection("last", ("3.weight", "3.bias"))
    tuned = fine_tune_lora(
        model, chosen, known, FineTune(1e-2, 2, 5), rank=1, costs=costs, device="cpu"
    )
    front, base, low, high = 2 * 48 * 8, 2 * 8 * 4, 2 * 8 * 1, 2 * 1 * 4
    backward = low + 2 * high  # gradients of both weights, and of what B reads
    expected = 16 * (front + base) + 2 * (16 * (low + high) + 10 * backward)
    assert tuned.metrics["forward_passes"] == pytest.approx(expected / (front + base))


def test_without_costs_none_are_counted(splits):
    assert tune(network(), splits, settings=FineTune(1e-2, 1, 16)).metrics == {}
