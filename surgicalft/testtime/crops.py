"""Crops with one box per image, equal to what torchvision computes on Pillow's images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from surgicalft.testtime.image_operations import pixels

BITS = 22  # Pillow's weights are multiples of 2^-22


def crop(images: Tensor, box: Tensor, flip: Tensor, padding: int = 0) -> Tensor:
    """Cuts a box out of each image with `padding` zeros around it, stretches it to h x w, mirrors it where `flip`.

    Images uint8 (k, 3, h, w); boxes int64 (k, 4) of top, left, height and width, inside the padded image and no larger
    than h x w; flip bool (k,). A box of h x w is cut out and no more; a smaller one is interpolated linearly, along x
    and then along y, rounding both times: Pillow's `resize` with `BILINEAR`.
    """
    h, w = images.shape[2:]
    box, flip = box.to(images.device), flip.to(images.device)
    images = F.pad(images, (padding,) * 4) if padding else images
    top, left, height, width = box.unbind(1)
    columns, rows = (torch.arange(n, device=box.device).expand(len(box), n) for n in (w, h))
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    if bool(((height == h) & (width == w)).all()):
        first = top * images.shape[3] + left
        index = first[:, None, None] + rows[:, :, None] * images.shape[3] + columns[:, None]
        return pixels(images, index)
    images = _stretch(images, 3, left, width, columns)
    return _stretch(images, 2, top, height, rows)


def _stretch(images: Tensor, dim: int, start: Tensor, length: Tensor, out: Tensor) -> Tensor:
    """Lines `out` (k, size) when `length` lines from `start` are stretched to size: fixed-point weights."""
    centre = (out.double() + 0.5) * (length.double() / out.shape[1])[:, None]
    first = (centre - 0.5).long()  # towards 0
    near = 1 - (first + 0.5 - centre).abs()
    alone = (centre < 0.5) | (first + 1 >= length[:, None])
    far = torch.where(alone, 0, 1 - (first + 1.5 - centre).abs())
    shape = [len(out), 1, -1, 1] if dim == 2 else [len(out), 1, 1, -1]
    size = [*images.shape[:dim], out.shape[1], *images.shape[dim + 1 :]]
    parts = []
    for offset, weight in ((0, near), (1, far)):
        place = (first + offset).minimum(length[:, None] - 1) + start[:, None]
        fixed = (weight / (near + far) * (1 << BITS) + 0.5).int().view(shape)
        parts.append(images.gather(dim, place.view(shape).expand(size)).int().mul_(fixed))
    total = parts[0].add_(parts[1]).add_(1 << (BITS - 1))  # to the nearest
    return (total >> BITS).to(torch.uint8)
