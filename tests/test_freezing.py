"""Frozen means: no gradient, no optimiser state, bit-identical after training; and it stays so."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.freezing import NORM_POLICIES, freeze, trainable, unfreeze
from surgicalft.models.resnet_cifar import ResNetCifar

SELECTIONS = ("block 1", "block 2", "last", "block 2:block 3", "first_2_layers", "all", "none")


def network(norm: str = "batch") -> ResNetCifar:
    torch.manual_seed(0)
    return ResNetCifar(8, widths=(8, 8, 8), norm=norm)


class Chancy(nn.Module):
    """Dropout as a module and as a function, in front of, in and behind each of three stages."""

    def __init__(self) -> None:
        super().__init__()
        self.drop0 = nn.Dropout(0.5)
        self.stage1 = Stage()
        self.drop1 = nn.Dropout(0.5)
        self.stage2 = Stage()
        self.stage3 = Stage()

    def forward(self, x: Tensor) -> Tensor:
        return self.stage3(self.stage2(self.drop1(self.stage1(self.drop0(x)))))

    def block_patterns(self) -> dict[str, str]:
        return {f"block {i}": rf"stage{i}\." for i in (1, 2, 3)}


class Stage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.bn = nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.bn(self.fc(x)), 0.5, self.training)


def train(model: nn.Module, steps: int = 3) -> torch.optim.Optimizer:
    """A small real training loop, without weight decay, which would move what has no gradient."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(16, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (16,), generator=generator)
    parameters = trainable(model)
    optimizer = torch.optim.Adam(parameters or [torch.zeros(1)], lr=0.01)
    for _ in range(steps if parameters else 0):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return optimizer


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, value in model.state_dict().items() if not value.equal(before[name])}


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def norms(model: nn.Module) -> dict[str, nn.Module]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("what", SELECTIONS)
def test_only_the_selection_learns(norm: str, what: str) -> None:
    model = network(norm)
    selection = Blocks.of(model).select(what)
    freeze(model, selection)
    before = copy.deepcopy(model.state_dict())
    train(model)
    gradients = {name for name, p in model.named_parameters() if p.grad is not None}
    assert gradients == set(selection.parameters)
    assert changed(before, model) == set(selection.parameters)  # buffers are in the state, too


@pytest.mark.parametrize("what", SELECTIONS)
def test_frozen_no_state(what: str) -> None:
    model = network()
    selection = Blocks.of(model).select(what)
    freeze(model, selection)
    optimizer = train(model)
    with_state = {n for n, p in model.named_parameters() if optimizer.state.get(p)}
    assert with_state == set(selection.parameters)
    assert [id(p) for p in trainable(model)] == [
        id(p) for n, p in model.named_parameters() if n in selection.parameters
    ]


def test_tuning_everything_is_plain_training_but_for_the_statistics() -> None:
    frozen, plain = network("group"), network("group")
    freeze(frozen, Blocks.of(frozen).select("all"))
    train(frozen), train(plain)
    assert not changed(plain.state_dict(), frozen)


def test_weight_decay_moves_nothing_frozen_and_old_gradients_are_dropped() -> None:
    model = network()
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    freeze(model, Blocks.of(model).select("last"))
    before = copy.deepcopy(model.state_dict())
    torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1).step()
    assert changed(before, model) == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("policy", NORM_POLICIES)
def test_policy_says_whose_statistics_move(policy: str) -> None:
    model = network()
    blocks = Blocks.of(model)
    freeze(model, blocks.select("block 2"), norm=policy)
    before = copy.deepcopy(model.state_dict())
    train(model)
    moved = {name.rpartition(".")[0] for name in changed(before, model) if "running" in name}
    own = {name for name in norms(model) if blocks.block_of(f"{name}.weight") == "block 2"}
    assert own and moved == {"eval": set(), "tuned": own, "train": set(norms(model))}[policy]


def test_policy_covers_every_layer_with_running_statistics() -> None:
    layers = [
        nn.BatchNorm2d(8, affine=False),
        nn.SyncBatchNorm(8),
        nn.InstanceNorm2d(8, track_running_stats=True),
    ]
    model = nn.Sequential(nn.Conv2d(3, 8, 1), *layers, nn.BatchNorm2d(8, track_running_stats=False))
    freeze(model, Selection("all", tuple(name for name, _ in model.named_parameters())))
    assert [m.training for m in model.train()] == [True, False, False, False, True]


def test_mode_survives_train_on_the_whole_and_on_parts() -> None:
    model = network()
    freeze(model, Blocks.of(model).select("block 2"))
    expected = {name: False for name in (*norms(model), "normalize", "conv1", "layer1")}
    for _ in range(2):
        model.eval().train()
        model.layer1.train()
        model.layer2[0].bn1.train(True)
        assert modes(model).items() >= expected.items()
        assert model.training and model.layer2.training and model.fc.training
    assert not any(modes(model.eval()).values())


def test_freezing_leaves_the_mode_of_the_model() -> None:
    model = network().eval()
    freeze(model, Blocks.of(model).select("last"))
    assert not any(modes(model).values())
    unfreeze(model)
    assert not any(modes(model).values())


def test_unfreeze_undoes_everything() -> None:
    model, fresh = network(), network()
    freeze(model, Blocks.of(model).select("block 3"))
    unfreeze(model)
    assert len(trainable(model)) == len(list(model.parameters()))
    assert modes(model) == modes(fresh) and all(modes(model).values())
    assert [type(m) for m in model.modules()] == [type(m) for m in fresh.modules()]


def test_freezing_again_forgets_the_first_time() -> None:
    model, fresh = network(), network()
    blocks = Blocks.of(model)
    for what in ("last", "none", "block 1"):
        freeze(model, blocks.select(what), norm="tuned")
    freeze(fresh, blocks.select("block 1"), norm="tuned")
    assert modes(model.train()) == modes(fresh.train())
    assert [type(m) for m in model.modules()] == [type(m) for m in fresh.modules()]


def test_a_copy_is_frozen_by_itself() -> None:
    model = network()
    blocks = Blocks.of(model)
    freeze(model, blocks.select("block 2"))
    twin = copy.deepcopy(model)
    unfreeze(model)
    assert all(modes(model.train()).values())
    before = copy.deepcopy(twin.state_dict())
    train(twin)
    assert changed(before, twin) == set(blocks.parameters("block 2"))
    assert not changed(before, model)
    unfreeze(twin)
    assert all(modes(twin.train()).values())


def test_a_pickled_model_is_frozen_too() -> None:
    model = network()
    freeze(model, Blocks.of(model).select("block 2"))
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (pickle.loads(pickle.dumps(model)), torch.load(buffer, weights_only=False)):
        assert modes(twin.train()) == modes(model.train())
        assert [type(m) for m in twin.modules()] == [type(m) for m in model.modules()]


def test_classes_keep_name_and_kin() -> None:
    model, fresh = network(), network()
    freeze(model, Blocks.of(model).select("block 2"))
    for module, plain in zip(model.modules(), fresh.modules(), strict=True):
        assert isinstance(module, type(plain))
        assert type(module).__name__ == type(plain).__name__
        assert type(module).__module__ == type(plain).__module__
    assert repr(model) == repr(fresh)


def test_torch_fx_sees_the_same_leaves() -> None:
    model, fresh = network(), network()
    freeze(model, Blocks.of(model).select("block 2"))
    traced, plain = fx.symbolic_trace(model), fx.symbolic_trace(fresh)
    assert traced.code == plain.code
    assert [n.target for n in traced.graph.nodes] == [n.target for n in plain.graph.nodes]
    assert modes(traced.train())["layer1.0.bn1"] is False  # the graph shares the model's layers
    assert modes(copy.deepcopy(traced).train())["layer1.0.bn1"] is False


@pytest.mark.parametrize(("what", "off"), [("block 1", 0), ("block 2", 1), ("block 3", 2)])
def test_chance_is_off_in_front_of_the_first_tuned_layer(what: str, off: int) -> None:
    model = Chancy()
    blocks = Blocks.of(model)
    freeze(model, blocks.select(what))
    model.train()
    x = torch.ones(64, 16)
    front = [model.drop0, model.stage1, model.drop1, model.stage2][: 2 * off or 1]
    for layer in front:  # each twice on the same input: no chance in any
        assert layer(x).equal(layer(x))
    behind = [model.stage1, model.stage2, model.stage3][off:]
    assert not any(layer(x).equal(layer(x)) for layer in behind)


def test_chance_is_off_in_front_where_registration_departs_from_computation() -> None:
    model = Chancy()
    model.embed2 = nn.Linear(16, 16)  # used in front of stage2, registered behind it ...
    first = model.stage1
    del model.stage1
    model.stage1 = first  # ... as is stage1
    blocks = Blocks.of(model, {"a": "stage1", "b": "embed2|stage2", "c": "stage3"})
    freeze(model, blocks.select("b:c"))
    model.train()
    assert not model.stage1.training and not model.stage1.fc.training and model.stage2.training


def test_nothing_tuned_is_all_fixed() -> None:
    model = Chancy()
    freeze(model, Blocks.of(model).select("none"), norm="tuned")
    assert not any(modes(model.train()).values()) and not trainable(model)


def test_a_tied_parameter_learns_in_both_places() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    freeze(model, Selection("tied", ("0.weight",)))
    assert len(trainable(model)) == 1 and model.train()[1].training


def test_wrong_arguments_are_named() -> None:
    model = network()
    with pytest.raises(
        ValueError, match=r"norm must be one of \('eval', 'train', 'tuned'\), not 'x'"
    ):
        freeze(model, Selection("none", ()), norm="x")
    with pytest.raises(ValueError, match=r"ResNetCifar has no parameters \['head.weight'\]"):
        freeze(model, Selection("head", ("head.weight", "fc.bias")))
    assert len(trainable(model)) == len(list(model.parameters()))  # a refused call changes nothing
