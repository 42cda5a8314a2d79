"""CLIP's vision transformers with a linear head.

The tower is open_clip's, under its own parameter names; the head reads its projected image embedding, not
rescaled to unit length, as in the code of Kumar et al. (2022), "Fine-Tuning can Distort Pretrained Features",
whose setting the paper follows. OpenAI's weights (Radford et al. 2021) were trained with the quick GELU
x sigmoid(1.702 x), most others, LAION's among them, with the exact one: the weights do not tell which.
"""

from dataclasses import dataclass

from torch import Tensor, nn

EMBEDDING = r"visual\.(conv1|ln_pre)\.|visual\.(class|positional)_embedding\Z"
FINISH = r"visual\.ln_post\.|visual\.proj\Z"
GROUPS = 4


@dataclass(frozen=True)
class Tower:
    """A vision transformer: image and patch in pixels, `embed` is the projected embedding's dimension."""

    size: int
    patch: int
    width: int
    layers: int
    heads: int
    embed: int


TOWERS = {
    "b-16": Tower(224, 16, 768, 12, 12, 512),
    "l-14": Tower(224, 14, 1024, 24, 16, 768),
    "l-14-336": Tower(336, 14, 1024, 24, 16, 768),
    "tiny": Tower(32, 8, 64, 8, 4, 64),  # ours, for 32-pixel images and one processor
}


class ClipClassifier(nn.Module):
    """Normalised images (n, 3, size, size) -> logits (n, classes).

    Blocks: "embedding" (patch convolution, class and positional embeddings, the normalisation behind them),
    one block per transformer block, "last" (the linear head). The final normalisation and the projection
    behind it belong to the last transformer block, so that "last" is a linear probe of the embedding; the
    projection is linear, and a block of a single matrix is not among the paper's.

    `grouped` gives the blocks of Table 7, "2 first layers followed by 4 transformer blocks and 2 last layers".
    We take these for the list of layers in Kumar et al.'s code (`get_layers`): patch convolution and
    normalisation; the transformer blocks, in four groups of equal length; final normalisation and head. What
    that list leaves out goes with its neighbours: the embeddings with the first, the projection with the last.
    """

    def __init__(
        self, tower: Tower, classes: int, quick_gelu: bool = True, grouped: bool = False
    ) -> None:
        # Here: open_clip takes seconds to import.
        from open_clip.transformer import QuickGELU, VisionTransformer

        super().__init__()
        self.tower, self.quick_gelu, self.grouped = tower, quick_gelu, grouped
        self.visual = VisionTransformer(
            tower.size,
            tower.patch,
            tower.width,
            tower.layers,
            tower.heads,
            mlp_ratio=4.0,
            output_dim=tower.embed,
            act_layer=QuickGELU if quick_gelu else nn.GELU,
            norm_layer=nn.LayerNorm,
        )
        self.head = nn.Linear(tower.embed, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.visual(images))

    def block_patterns(self) -> dict[str, str]:
        """Names of the blocks, in order, and the parameters they hold."""
        patterns = [_transformer_blocks(range(i, i + 1)) for i in range(self.tower.layers)]
        if self.grouped:
            length = self.tower.layers // GROUPS
            starts = range(0, self.tower.layers, length)
            patterns = [_transformer_blocks(range(i, i + length)) for i in starts]
            first, last = "first layers", rf"{FINISH}|head\."
        else:
            patterns[-1] = f"{patterns[-1]}|{FINISH}"
            first, last = "embedding", r"head\."
        blocks = {f"block {i}": pattern for i, pattern in enumerate(patterns, 1)}
        return {first: EMBEDDING, **blocks, "last": last}

    def tensor_lists(self) -> dict[str, tuple[str, ...]]:
        """The first and the last three transformer blocks (Tables 1 and 8); none where blocks are grouped."""
        if self.grouped:
            return {}
        names = [name for name, _ in self.named_parameters()]
        layers = self.tower.layers
        first = tuple(_prefix(i) for i in range(min(3, layers)))
        last = tuple(_prefix(i) for i in range(max(0, layers - 3), layers))
        finish = ("visual.ln_post.", "visual.proj")
        return {
            "first_three": tuple(name for name in names if name.startswith(first)),
            "last_three": tuple(name for name in names if name.startswith(last + finish)),
        }


def _prefix(i: int) -> str:
    return f"visual.transformer.resblocks.{i}."


def _transformer_blocks(indices: range) -> str:
    return rf"visual\.transformer\.resblocks\.({'|'.join(map(str, indices))})\."
