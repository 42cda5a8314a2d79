"""Random crops and mirrors of batches of images; what is random is drawn first and applied later.

So that batches can be made side by side while their random numbers come from one generator, in order.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

AUGMENTATIONS = ("none", "flip", "crop", "crop-flip")


@dataclass(frozen=True)
class Draw:
    """What is done to each of n images: offsets of its crop (2, n), and whether it is mirrored (n,)."""

    offsets: Tensor | None = None
    mirrored: Tensor | None = None


def draw(kind: str, n: int, size: int, random: torch.Generator) -> Draw:
    """Shifts of up to size/8 pixels where `kind` says "crop", mirrors of every second image where "flip"."""
    crop = torch.randint(2 * (size // 8) + 1, (2, n), generator=random) if "crop" in kind else None
    flip = torch.rand(n, generator=random) < 0.5 if "flip" in kind else None
    return Draw(crop, flip)


def apply(images: Tensor, what: Draw) -> Tensor:
    """The images (n, c, h, w), uint8, shifted (reflecting at the edge) and mirrored as drawn."""
    if what.offsets is None and what.mirrored is None:
        return images
    n, _, size, _ = images.shape
    out = images.numpy()
    if what.offsets is not None:
        pad = size // 8
        padded = np.pad(out, ((0, 0), (0, 0), (pad, pad), (pad, pad)), "reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
        top, left = what.offsets.numpy()
        out = windows[np.arange(n), :, top, left]  # (n, c, h, w)
    if what.mirrored is not None:
        mirrored = what.mirrored.numpy()[:, None, None, None]
        out = np.where(mirrored, out[..., ::-1], out)
    return torch.from_numpy(out)


def augment(images: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """Draw and apply: `kind` is one of `AUGMENTATIONS`."""
    return apply(images, draw(kind, len(images), images.shape[-1], random))
