"""Networks as users give them: wrapped, of other types, in other memory formats, with what cannot be copied."""

import copy

import pytest
import safetensors.torch
import timm
import torch
from small import small_splits
from torch import nn

from surgicalft import Blocks, FineTune, fine_tune
from surgicalft.evaluate import ImageForm
from surgicalft.given_network import copy_network, fast_format, takes_channels_last, unwrap
from surgicalft.models.networks import build

HOW = FineTune(1e-2, epochs=2, batch_size=16)
CLASSES = 4


class Small(nn.Module):
    def __init__(self, view=False, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(channels, 8, 3, 2, 1)
        self.b = nn.Conv2d(8, 4, 3, 2, 1)
        self.c = nn.Linear(64, CLASSES)
        self.view = view

    def forward(self, x):
        x = torch.relu(self.b(torch.relu(self.a(x))))
        return self.c(x.view(len(x), -1) if self.view else x.flatten(1))

    def block_patterns(self):
        return {"block 1": r"a\.", "block 2": r"b\.", "last": r"c\."}


def tuned(model, selection="block 2", data=None, how=HOW):
    found = fine_tune(model, Blocks.of(model).select(selection), data or small_splits(), how)
    return found.history, found.test_accuracy


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "parallel": nn.DataParallel,
    "both": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_are_looked_through(wrap):
    plain, inner = Small(), Small()
    wrapped = wrap(inner)
    blocks, expected = Blocks.of(wrapped), Blocks.of(plain)
    _, prefix = unwrap(wrapped)
    assert blocks.names == expected.names
    for name in blocks:
        assert blocks.parameters(name) == tuple(prefix + n for n in expected.parameters(name))
    named = [name for name, _ in wrapped.named_parameters()]
    assert sorted(named) == sorted(n for b in blocks for n in blocks.parameters(b))
    assert tuned(wrapped) == tuned(plain)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, inner.state_dict()[name])


def test_a_network_of_timm_in_a_wrapper_has_timms_blocks():
    model = timm.create_model("resnet10t", num_classes=3)
    assert Blocks.of(torch.compile(model, backend="eager")).names == Blocks.of(model).names


def test_distributed_networks_are_refused(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/x", rank=0, world_size=1
    )
    try:
        model = nn.parallel.DistributedDataParallel(Small())
        with pytest.raises(ValueError, match=r"give the network inside, `model\.module`"):
            Blocks.of(model)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("kind", ["resnet50", "timm/resnet50"])
def test_the_blocks_of_resnet50_are_the_papers_however_it_was_built(kind):
    plain = Blocks.of(timm.create_model("resnet50", num_classes=10))
    assert plain.names == ("block 1", "block 2", "block 3", "block 4", "last")
    with torch.device("meta"):
        named = Blocks.of(build(kind, 10, seed=0))
    for block in plain:
        assert named.parameters(block) == tuple(f"network.{n}" for n in plain.parameters(block))
    assert "conv1.weight" in plain.parameters("block 1")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_are_refused_in_plain_words(dtype):
    with pytest.raises(
        ValueError, match=r"Small has weights of torch\.b?float16, which round small"
    ):
        tuned(Small().to(dtype))


def test_double_precision_stays_double():
    model = Small().double()
    history, _ = tuned(model)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert history[1]["train_loss"] == pytest.approx(tuned(Small())[0][1]["train_loss"], rel=1e-4)


@pytest.mark.parametrize("channels", [1, 4])
def test_one_and_four_channels(channels):
    data = small_splits()
    for part in (data.tune, data.valid, data.test):
        images = part.images[:, :1] if channels == 1 else part.images[:, [0, 1, 2, 0]]
        object.__setattr__(part, "images", images)
    history, _ = tuned(Small(channels=channels), data=data)
    assert len(history) == 2


def test_a_view_behind_a_convolution():
    history, accuracy = tuned(Small(view=True))
    expected, other = tuned(Small())
    assert accuracy == other
    for one, two in zip(history, expected, strict=True):
        assert one == pytest.approx(two, rel=1e-4)


@pytest.mark.parametrize("selection", ["none", "block 1", "last", "all"])
def test_the_network_keeps_its_memory_format(selection, tmp_path):
    for channels_last in (False, True):
        model = Small()
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        strides = [p.stride() for p in model.parameters()]
        tuned(model, selection)
        assert [p.stride() for p in model.parameters()] == strides
    safetensors.torch.save_file(Small().state_dict(), tmp_path / "plain.safetensors")


def test_weights_can_be_saved_after_tuning(tmp_path):
    model = Small()
    tuned(model)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "tuned.safetensors")
    again = safetensors.torch.load_file(tmp_path / "tuned.safetensors")
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def test_the_format_comes_back_after_an_error():
    model = Small()
    strides = [p.stride() for p in model.parameters()]
    with pytest.raises(KeyError), fast_format(model, torch.rand(2, 3, 16, 16)):
        assert takes_channels_last(model) and ImageForm.of(model).channels_last
        raise KeyError
    assert [p.stride() for p in model.parameters()] == strides


class Kept(Small):
    def forward(self, x):
        self.last = torch.relu(self.a(x))
        self.all = [self.last, {"more": self.last * 2}]
        return self.c(torch.relu(self.b(self.last)).flatten(1))


def test_a_network_that_keeps_activations_is_copied_and_tuned():
    model = Kept()
    model(torch.rand(2, 3, 16, 16))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    twin = copy_network(model)
    assert twin.last.grad_fn is None and torch.equal(twin.last, model.last)
    assert twin.all[0] is twin.last and twin.a.weight is not model.a.weight
    assert all(p.requires_grad for p in twin.parameters())
    assert tuned(model) == tuned(Small())


@pytest.mark.parametrize("selection", ["block 2", "last"])
def test_no_placeholder_is_left_behind(selection):
    model = Kept()
    tuned(model, selection)
    assert type(model.last) is type(model.all[1]["more"]) is torch.Tensor
    assert model.last.isfinite().all()


def test_copies_keep_flags_and_ties():
    model = Small()
    model.d = model.c
    model.a.weight.requires_grad_(False)
    twin = copy_network(model)
    assert twin.d is twin.c
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]


def test_a_network_trained_on_normalised_images_is_warned_of():
    model = timm.create_model("resnet10t", num_classes=4)
    with pytest.warns(UserWarning, match=r"images in \[0, 1\].*surgicalft.Normalized"):
        tuned(model, "last")
