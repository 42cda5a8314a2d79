"""Names -> untrained networks."""

import re

import torch
from torch import nn

from surgicalft.models.resnet_cifar import ResNetCifar

PATTERN = re.compile(r"resnet(\d+)-(bn|gn)(?:-w(\d+))?")
NORM = {"bn": "batch", "gn": "group"}


def build(name: str, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network: `resnet<6N+2>-<bn|gn>[-w<width of the first stage>]`.

    The global random state is left as it was. ValueError for a name of another form.
    """
    match = PATTERN.fullmatch(name)
    if not match:
        raise ValueError(f"unknown network {name!r}; legal: resnet<6N+2>-<bn|gn>[-w<width>]")
    width = int(match[3] or 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNetCifar(int(match[1]), (width, 2 * width, 4 * width), NORM[match[2]], classes)
