"""torchvision's classifiers fall into blocks in the order of computation."""

import pytest
import torch
from torchvision import models

from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze
from surgicalft.models.torchvision_blocks import FAMILIES, family_of
from surgicalft.trial import find_plan

# One model per family: the number of blocks between stem and last, and what begins the first and the last of these.
EXPECTED = {
    "convnext_tiny": ("ConvNeXt", 4, "features.1.0.", "features.6."),
    "densenet121": ("DenseNet", 4, "features.denseblock1.", "features.denseblock4."),
    "efficientnet_b0": ("EfficientNet", 8, "features.1.", "features.8."),
    "maxvit_t": ("MaxVit", 4, "blocks.0.", "blocks.3."),
    "mnasnet0_5": ("MNASNet", 7, "layers.8.", "layers.14."),
    "mobilenet_v2": ("MobileNetV2", 18, "features.1.", "features.18."),
    "mobilenet_v3_small": ("MobileNetV3", 12, "features.1.", "features.12."),
    "regnet_y_400mf": ("RegNet", 4, "trunk_output.block1.", "trunk_output.block4."),
    "resnet18": ("ResNet", 4, "conv1.", "layer4."),
    "shufflenet_v2_x0_5": ("ShuffleNetV2", 3, "stage2.", "stage4."),
    "swin_t": ("SwinTransformer", 4, "features.1.", "features.6."),
    "vit_b_16": ("VisionTransformer", 12, "encoder.layers.encoder_layer_0.", "encoder.layers.encoder_layer_11."),
}  # fmt: skip


def test_a_model_of_every_family_is_tried():
    assert sorted(family for family, *_ in EXPECTED.values()) == sorted(FAMILIES)


@pytest.mark.parametrize("name", EXPECTED)
def test_partition(name):
    family, count, first, final = EXPECTED[name]
    with torch.device("cpu" if family == "RegNet" else "meta"):  # it computes its widths by tensors
        model = models.get_model(name)
    assert family_of(model) is FAMILIES[family]
    blocks = Blocks.of(model)
    stem = ["stem"] * (family != "ResNet")  # which has its stem in block 1
    assert blocks.names == (*stem, *(f"block {i}" for i in range(1, count + 1)), "last")
    found = [parameter for block in blocks for parameter in blocks.parameters(block)]
    # A partition, in the order of registration, which is that of computation here.
    assert sorted(found) == sorted(name for name, _ in model.named_parameters())
    assert blocks.parameters("block 1")[0].startswith(first)
    assert blocks.parameters(f"block {count}")[0].startswith(final)
    classifier = [n for n, p in model.named_parameters() if len(p) == 1000]
    assert set(classifier) <= set(blocks.parameters("last"))


def test_the_blocks_lie_one_behind_the_other():
    """What is in front of a block depends on nothing behind it: the later the block, the more answers from memory."""
    model = models.resnet18(num_classes=3)
    blocks, counts = Blocks.of(model), []
    for block in blocks:
        freeze(model, blocks.select(block))
        plan = find_plan(model, blocks.select(block).parameters, torch.rand(4, 3, 32, 32))
        counts.append(len(plan.outputs))
    assert counts == sorted(counts) and counts[0] == 0 and len(set(counts)) == len(counts)


def test_a_family_without_blocks_asks_for_patterns():
    with torch.device("meta"):
        model = models.get_model("vgg11")
    with pytest.raises(ValueError, match="nor of a known family of torchvision: give patterns"):
        Blocks.of(model)
    patterns = {"block 1": r"features\.", "last": r"classifier\."}
    assert Blocks.of(model, patterns).names == ("block 1", "last")
