"""A network together with the scale and the size of the images that it was trained on."""

import re
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from surgicalft.blocks import Blocks
from surgicalft.models.resnet_cifar import Normalize
from surgicalft.models.torchvision_blocks import family_of

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and std, as timm and torchvision
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # as OpenAI


def fitted(images: Tensor, size: int | None) -> Tensor:
    """Images (n, c, h, w) resized to (n, c, size, size), bilinear with antialiasing; as they are where they fit."""
    if size is None or images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


class Normalized(nn.Module):
    """network((resize(x) - mean) / std) for images x in [0, 1], shape (n, c, h, w).

    Images of another height or width than `size` are resized on their device; None takes any. The blocks and
    tensor lists are the inner network's; its parameters' names here begin with `network.`.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.normalize = Normalize(mean, std)
        self.network = network

    @classmethod
    def of(cls, network: nn.Module, size: int | None = None) -> "Normalized":
        """With the mean and deviation that the network itself states (timm), or ImageNet's (torchvision).

        Raises ValueError for any other network.
        """
        config = getattr(network, "pretrained_cfg", None) or {}
        if "mean" in config and "std" in config:
            return cls(network, config["mean"], config["std"], size)
        if family_of(network):
            return cls(network, *IMAGENET, size)
        raise ValueError(
            f"{type(network).__name__} states no mean and std: give them, Normalized(network, mean, std)"
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalize(fitted(images, self.size)))

    def block_patterns(self) -> dict[str, str]:
        """One pattern per block of the inner network, which lists the block's parameters."""
        blocks = Blocks.of(self.network).blocks
        return {block.name: "|".join(map(_exactly, block.parameters)) for block in blocks}

    def tensor_lists(self) -> dict[str, tuple[str, ...]]:
        """Those of the inner network."""
        lists = Blocks.of(self.network).tensor_lists
        return {name: tuple(f"network.{tensor}" for tensor in names) for name, names in lists}


def _exactly(parameter: str) -> str:
    return rf"network\.{re.escape(parameter)}\Z"
