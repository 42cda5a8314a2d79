"""Every method on every kind of network: convolutions with BatchNorm or GroupNorm, and transformers."""

import math

import pytest
import torch
from small import labelled

from surgicalft.blocks import Blocks
from surgicalft.finetune import FineTune, fine_tune
from surgicalft.methods import METHODS, make_method
from surgicalft.models.networks import build
from surgicalft.shifts.base import Splits

VARIANTS = [(name, variant) for name, method in METHODS.items() for variant in method.variants]
SMALL = ("resnet8-bn", "resnet8-gn", "clip-vit-tiny", "clip-vit-tiny-grouped")
LARGE = ("resnet50", "rvt-small", "timm/vit_tiny_patch16_224", "clip-vit-b-16-grouped")


def check(name, method, variant):
    network = build(name, 10, 0)
    start = {k: v.clone() for k, v in network.named_parameters()}
    splits = Splits(*(labelled(n, seed, 32, 10) for seed, n in enumerate((4, 2, 2))))
    blocks = Blocks.of(network)
    how = FineTune(1e-4, epochs=2, batch_size=4)
    chosen = make_method(method, variant)
    tuned = fine_tune(network, blocks.select("all"), splits, how, method=chosen, blocks=blocks)
    assert all(math.isfinite(entry["train_loss"]) for entry in tuned.history)
    changed = {k for k, v in network.named_parameters() if not torch.equal(v, start[k])}
    shares = tuned.history[tuned.epoch - 1].get("rates")
    assert changed and (shares is None or len(shares) == len(start))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("method", "variant"), VARIANTS)
def test_small(name, method, variant):
    check(name, method, variant)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize(("method", "variant"), VARIANTS)
def test_large(name, method, variant):
    check(name, method, variant)
