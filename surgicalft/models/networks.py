"""Names -> untrained networks."""

import difflib
import re
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from surgicalft.models import normalized
from surgicalft.models.clip import TOWERS, ClipClassifier
from surgicalft.models.normalized import Normalized
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.models.rvt import RVT

RESNET = re.compile(r"resnet(\d+)-(bn|gn)(?:-w(\d+))?")
CLIP = re.compile(rf"clip-vit-({'|'.join(TOWERS)})(-gelu)?(-grouped)?")
NORM = {"bn": "batch", "gn": "group"}
FORMS = (
    "resnet<6N+2>-<bn|gn>[-w<width>]",
    "resnet50",
    f"clip-vit-<{'|'.join(TOWERS)}>[-gelu][-grouped]",
    "rvt-small",
    "timm/<a name in timm>",
)


def build(name: str, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network: images (n, 3, h, w) in [0, 1] -> logits (n, classes).

    `resnet<6N+2>-<bn|gn>[-w<width of the first stage>]` is for 32 pixels; all others normalise and resize as
    their published weights expect. `clip-vit-...` has OpenAI's quick GELU, with `-gelu` the exact one, with
    `-grouped` the blocks of Table 7. The global random state is left as it was. ValueError for a name of
    another form.
    """
    make = _maker(name, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _maker(name: str, classes: int) -> Callable[[], nn.Module]:
    if name == "resnet50":
        return lambda: Normalized(_resnet50(classes), *normalized.IMAGENET, 224)
    if name == "rvt-small":
        return lambda: Normalized(RVT(classes), *normalized.IMAGENET, 224)
    if name.startswith("timm/"):
        return partial(_timm, name.removeprefix("timm/"), classes)
    if match := CLIP.fullmatch(name):
        return partial(_clip, match, classes)
    if match := RESNET.fullmatch(name):
        return partial(_resnet_cifar, match, classes)
    raise ValueError(f"unknown network {name!r}; legal: {', '.join(FORMS)}")


def _resnet_cifar(match: re.Match[str], classes: int) -> nn.Module:
    width = int(match[3] or 16)
    return ResNetCifar(int(match[1]), (width, 2 * width, 4 * width), NORM[match[2]], classes)


def _clip(match: re.Match[str], classes: int) -> nn.Module:
    tower = TOWERS[match[1]]
    network = ClipClassifier(tower, classes, quick_gelu=not match[2], grouped=bool(match[3]))
    return Normalized(network, *normalized.CLIP, tower.size)


def _resnet50(classes: int) -> nn.Module:
    """timm's, with torchvision's names of parameters: 25,557,032 for 1000 classes.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2015), with the stride in the 3x3 convolution.
    """
    import timm  # here: it takes seconds to import

    network: nn.Module = timm.create_model("resnet50", num_classes=classes)
    return network


def _timm(name: str, classes: int) -> nn.Module:
    """An architecture of timm at the size and scale of its published weights."""
    import timm  # here: it takes seconds to import

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(f"timm has no model {name!r}; similar: {close}; see timm.list_models()")
    network = timm.create_model(name, num_classes=classes)
    expects = network.pretrained_cfg
    return Normalized(network, expects["mean"], expects["std"], expects["input_size"][-1])


def ungrouped(name: str) -> str:
    """The network of the same weights whose blocks are not grouped."""
    return name.removesuffix("-grouped")
