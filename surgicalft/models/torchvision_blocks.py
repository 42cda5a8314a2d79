"""Blocks of torchvision's classifiers, which declare none, named as timm's: `stem`, `block 1` ... `block N`, `last`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Family:
    """`stage` matches the names of the body's parameters and a number k in them: block (k + shift) // each."""

    stage: str
    last: str
    shift: int = 0
    each: int = 1


_FEATURES = r"features\.([1-9]\d*)\."  # 0 is the stem
FAMILIES = {  # by the class in torchvision.models
    "ConvNeXt": Family(_FEATURES, r"classifier\.2\.", shift=2, each=2),  # downsampling, stage
    "DenseNet": Family(r"features\.(?:denseblock|transition)(\d+)\.", r"classifier\."),
    "EfficientNet": Family(_FEATURES, r"classifier\."),
    "MaxVit": Family(r"blocks\.(\d+)\.", r"classifier\.5\.", shift=1),
    "MNASNet": Family(r"layers\.(8|9|1[0-4])\.", r"classifier\.", shift=-7),
    "MobileNetV2": Family(_FEATURES, r"classifier\."),
    "MobileNetV3": Family(_FEATURES, r"classifier\."),
    "RegNet": Family(r"trunk_output\.block(\d+)\.", r"fc\."),
    "ResNet": Family(r"layer(\d+)\.", r"fc\."),
    "ShuffleNetV2": Family(r"stage(\d+)\.", r"fc\.", shift=-1),
    "SwinTransformer": Family(_FEATURES, r"head\.", shift=2, each=2),
    "VisionTransformer": Family(r"encoder\.layers\.encoder_layer_(\d+)\.", r"heads\.", shift=1),
}


def family_of(model: nn.Module) -> Family | None:
    """The family of a classifier of torchvision, or of a class derived from one; None for any other."""
    named = (c.__name__ for c in type(model).__mro__ if c.__module__.startswith("torchvision."))
    return next((FAMILIES[name] for name in named if name in FAMILIES), None)


def torchvision_groups(family: Family, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Blocks and their parameters, in order; what is in no stage goes with what is registered before it."""
    groups: dict[str, list[str]] = {}
    title = "stem"
    for name in names:
        if re.match(family.last, name):
            groups.setdefault("last", []).append(name)
            continue
        if stage := re.match(family.stage, name):
            title = f"block {(int(stage[1]) + family.shift) // family.each}"
        groups.setdefault(title, []).append(name)
    return list(groups.items())
