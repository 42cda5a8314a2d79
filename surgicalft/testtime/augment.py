"""AugMix on tensors: the augmentations of MEMO, for many images at once.

    x' = m c + (1 - m) sum_i w_i o_i3(o_i2(o_i1(c)))

c is a random crop of the image, mirrored half the time; each of the chains applies 1 to 3 operations, drawn with
replacement from nine; m ~ Beta(1, 1), w ~ Dirichlet(1, 1, 1). Between operations images are bytes, as in Pillow, whose
crops and operations these equal bit for bit.

Source: Hendrycks et al. (2020), "AugMix"; Zhang et al. (2022), "MEMO", whose code applies the operations at level 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgicalft.testtime import image_operations
from surgicalft.testtime.augmix import KINDS, NONE, AugMix, Draws, draw
from surgicalft.testtime.crops import crop

__all__ = ["AugMix", "augment"]

MEMO_CIFAR = AugMix()
CHUNK_BYTES = 2**22  # of all chains at once; a step's temporaries are of the same size


def augment(images: Tensor, n: int, seeds: Sequence[int], how: AugMix = MEMO_CIFAR) -> Tensor:
    """n augmentations of each image: uint8 (m, 3, h, w) -> float32 (m, n, 3, h, w) in [0, 1], on the images' device.

    An image's augmentations depend on its pixels, its seed (0 or more) and `how` alone, never on the batch nor on the
    number of threads; the first of n are the same for every n. Raises ValueError for other images, for no augmentations
    and for another number of seeds than of images.
    """
    _check(images, n, seeds)
    m, channels, h, w = images.shape
    draws = draw(seeds, n, (h, w), how)
    which = torch.arange(m, device=images.device).repeat_interleave(n)
    size = max(1, CHUNK_BYTES // (how.width * channels * h * w))
    out = torch.empty(m * n, channels, h, w, device=images.device)
    for start in range(0, m * n, size):
        rows = slice(start, start + size)
        part = Draws(**{name: value[rows] for name, value in vars(draws).items()})
        out[rows] = mix(images.index_select(0, which[rows]), part, how)
    return out.view(m, n, channels, h, w)


def mix(images: Tensor, draws: Draws, how: AugMix) -> Tensor:
    """One augmentation of each image, by its row of the draws: uint8 (rows, 3, h, w) -> float32 in [0, 1]."""
    cropped = crop(images, draws.box, draws.flip, how.padding if how.crop == "padded" else 0)
    chains = _chains(cropped, draws.operations, draws.parameters)
    weights = (draws.weights / 255).to(images.device)[..., None, None, None]
    out = cropped.float().mul_(weights[:, 0])
    for i in range(how.width):
        out += chains[:, i].float().mul_(weights[:, 1 + i])  # no fused sum: it may round otherwise
    return out.clamp_(max=1)


def _chains(images: Tensor, operations: Tensor, parameters: Tensor) -> Tensor:
    """All chains (rows, width, 3, h, w), step by step: images are sorted by their next operation."""
    rows, width, depth = operations.shape
    operations, parameters = operations.flatten(0, 1), parameters.flatten(0, 1)
    place = torch.arange(rows * width) // width  # of each chain's image
    chains = images
    for step in range(depth):
        order = operations[:, step].argsort(stable=True)
        chains = chains.index_select(0, place[order].to(images.device))
        chains = _apply(chains, operations[order, step], parameters[order, step])
        place = order.argsort()
    return chains.index_select(0, place.to(images.device)).view(rows, width, *images.shape[1:])


def _apply(images: Tensor, operations: Tensor, parameters: Tensor) -> Tensor:
    """Each image's operation; `operations` is sorted."""
    counts = torch.bincount(operations - NONE, minlength=1 + len(KINDS)).tolist()
    done = []
    for kind, part, values in zip(
        (None, *KINDS), images.split(counts), parameters.split(counts), strict=True
    ):
        if kind is None or not len(part):
            done.append(part)
        else:
            function = getattr(image_operations, kind.name)
            done.append(function(part, values) if kind.largest else function(part))
    return torch.cat(done)


def _check(images: Tensor, n: int, seeds: Sequence[int]) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        found = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"images must be torch.uint8 (m, 3, h, w), not {found}")
    if not images.numel():
        raise ValueError(f"there is nothing to augment: {tuple(images.shape)}")
    if n < 1:
        raise ValueError(f"{n} augmentations: 1 or more are needed")
    if len(seeds) != len(images):
        raise ValueError(f"{len(seeds)} seeds for {len(images)} images: one each is needed")
    if wrong := [seed for seed in seeds if seed < 0]:
        raise ValueError(f"seeds must be 0 or more, not {wrong[0]}")
