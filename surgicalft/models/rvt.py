"""RVT*-small, a vision transformer built from parts that were found robust.

Source: Mao et al., "Towards Robust Vision Transformer" (CVPR 2022, arXiv 2105.07926). Against DeiT-small: a
convolutional patch embedding, no class token (the tokens' mean is classified) and no positional embedding,
and in the feed-forward part a depth-wise 3x3 convolution over the tokens' grid. The star stands for two more:
position-aware attention scaling, an elementwise factor sigmoid(W) on Q K^T / sqrt(d) in the first five
blocks, which is here; and patch-wise augmentation of the training images, which belongs to training and is
left out, as is stochastic depth. 23.3 M parameters, as published. Parameters have the authors' names, so that
their checkpoint loads; W starts at 0 here, while theirs starts as whatever memory holds.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 16  # pixels of the image per token


class Attention(nn.Module):
    """softmax(sigmoid(W) * (Q K^T / sqrt(d))) V by heads; without the factor where `positions` is None.

    Tokens (n, positions, width) -> the same shape; W has shape (heads, positions, positions).
    """

    def __init__(self, width: int, heads: int, positions: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.att_mask = None
        if positions is not None:
            self.att_mask = nn.Parameter(torch.zeros(heads, positions, positions))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (n, heads, positions, d)
        if self.att_mask is None:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            rate = (self.qkv.in_features // self.heads) ** -0.5
            scores = (q * rate) @ k.transpose(-2, -1) * self.att_mask.sigmoid()
            mixed = scores.softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).flatten(2))


class ConvFeedForward(nn.Module):
    """Two 1x1 convolutions around a depth-wise 3x3 one, each normalised over the batch.

    Tokens (n, grid^2, width) -> the same shape.
    """

    def __init__(self, width: int, hidden: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.fc1 = nn.Conv2d(width, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, width, 1)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2).unflatten(2, (self.grid, self.grid))  # (n, width, grid, grid)
        x = F.gelu(self.bn1(self.fc1(x)))
        x = F.gelu(self.bn2(self.dwconv(x)))
        return self.bn3(self.fc2(x)).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, width: int, heads: int, grid: int, scaled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, grid**2 if scaled else None)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = ConvFeedForward(width, 4 * width, grid)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class RVT(nn.Module):
    """Normalised images (n, 3, size, size) -> logits (n, classes); the defaults are RVT*-small.

    `size` is a multiple of 16; the first `scaled` of `depth` blocks scale their attention by position. Blocks:
    "embedding", "block 1" ... "block 12", "last" (the head); the final normalisation belongs to the last
    transformer block.
    """

    def __init__(
        self,
        classes: int = 1000,
        size: int = 224,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        scaled: int = 5,
    ) -> None:
        super().__init__()
        if size % PATCH:
            raise ValueError(f"size must be a multiple of {PATCH}, not {size}")
        self.depth = depth
        self.patch_embed = _named("proj", _embedding(width))
        blocks = (Block(width, heads, size // PATCH, i < scaled) for i in range(depth))
        self.transformers = nn.Sequential(_named("blocks", nn.Sequential(*blocks)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed(images).flatten(2).transpose(1, 2)  # (n, positions, width)
        return self.head(self.norm(self.transformers(x).mean(1)))

    def block_patterns(self) -> dict[str, str]:
        """Names of the blocks, in order, and the parameters they hold."""
        blocks = {f"block {i + 1}": rf"transformers\.0\.blocks\.{i}\." for i in range(self.depth)}
        blocks[f"block {self.depth}"] += r"|norm\."
        return {"embedding": r"patch_embed\.", **blocks, "last": r"head\."}

    def tensor_lists(self) -> dict[str, tuple[str, ...]]:
        """The paper's "first conv layer inside the first transformer block" (appendix A.6).

        `first_2_layers`, which the paper has for its other network alone, adds the network's first layer.
        """
        first, stem = (
            (f"{layer}.weight", f"{layer}.bias")
            for layer in ("transformers.0.blocks.0.mlp.fc1", "patch_embed.proj.0")
        )
        return {"first_layer": first, "first_2_layers": (*stem, *first)}


def _embedding(width: int) -> nn.Sequential:
    """Images (n, 3, 16 g, 16 g) -> (n, width, g, g)."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 7, stride=2, padding=2),
        nn.BatchNorm2d(32),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(32, width, 4, stride=4),
    )


def _named(name: str, module: nn.Module) -> nn.Sequential:
    """The module one level deeper, as in the authors' parameter names."""
    return nn.Sequential(OrderedDict({name: module}))
