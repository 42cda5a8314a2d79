"""Pre-activation residual networks for 32x32 images, depth 6N+2.

Source: He et al., "Identity Mappings in Deep Residual Networks" (2016), section 3 and appendix; the shortcut
is parameter-free (option A of He et al. 2015: average-pool, then pad the new channels with zeros). With
GroupNorm of 8 groups and depth 26 this is the network of MEMO and test-time training, whose published
checkpoint it loads: 366,938 parameters.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": partial(nn.GroupNorm, 8),
}


class Normalize(nn.Module):
    """(x - mean) / std per channel, for x in [0, 1], shape (n, c, h, w).

    Part of the network, so that a checkpoint is never fed images on the wrong scale.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            buffer = torch.tensor(value).view(1, -1, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Shortcut(nn.Module):
    """Identity where the shape stays; else average-pool by 2 and zero-pad the new channels."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride)
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return x


class PreActBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))) with 3x3 convolutions."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.bn1 = norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = Shortcut(outputs - inputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(F.relu(self.bn1(x)))
        residual = self.conv2(F.relu(self.bn2(residual)))
        return self.shortcut(x) + residual


class Pool(nn.Module):
    """The mean over all pixels of what is positive: (n, c, h, w) -> (n, c). A module, so that its output is kept."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).mean((2, 3))


class ResNetCifar(nn.Module):
    """Three stages of `(depth - 2) / 6` blocks, at 32, 16 and 8 pixels.

    Images (n, 3, 32, 32) in [0, 1] -> logits (n, classes). `norm` is "batch" or "group" (8 groups);
    `widths` are the channels of the three stages, the first also the stem's.
    """

    def __init__(
        self,
        depth: int = 26,
        widths: Sequence[int] = (16, 32, 64),
        norm: str = "batch",
        classes: int = 10,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6N+2 with N >= 1 (8, 14, 20, 26, ...), not {depth}")
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {sorted(NORMS)}, not {norm!r}")
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        blocks = (depth - 2) // 6
        self.layer1 = _stage(widths[0], widths[0], blocks, 1, NORMS[norm])
        self.layer2 = _stage(widths[0], widths[1], blocks, 2, NORMS[norm])
        self.layer3 = _stage(widths[1], widths[2], blocks, 2, NORMS[norm])
        self.bn = NORMS[norm](widths[2])
        self.pool = Pool()
        self.fc = nn.Linear(widths[2], classes)
        self.apply(_init)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.normalize(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.pool(self.bn(x)))

    def block_patterns(self) -> dict[str, str]:
        """Names of the blocks, in order, and the parameters they hold (section 2.1 of the paper)."""
        return {
            "block 1": r"conv1\.|layer1\.",
            "block 2": r"layer2\.",
            "block 3": r"layer3\.|bn\.",
            "last": r"fc\.",
        }

    def tensor_lists(self) -> dict[str, tuple[str, ...]]:
        """The selections of single tensors that the paper names (appendix A.6)."""
        first = "conv1.weight"
        return {"first_layer": (first,), "first_2_layers": (first, "layer1.0.conv1.weight")}


def _stage(
    inputs: int, outputs: int, blocks: int, stride: int, norm: Callable[[int], nn.Module]
) -> nn.Sequential:
    first = PreActBlock(inputs, outputs, stride, norm)
    rest = (PreActBlock(outputs, outputs, 1, norm) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def _init(module: nn.Module) -> None:
    """He initialisation, which keeps the variance of a ReLU network's activations."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
