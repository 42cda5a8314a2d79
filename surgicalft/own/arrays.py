"""Labelled images from what users hold them in: arrays of NumPy or PyTorch, or a data set of (image, label)."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from surgicalft.settings import check_choice
from surgicalft.shifts.base import Labelled
from surgicalft.shifts.pixels import to_levels, to_rgb

LAYOUTS = ("nchw", "nhwc")
CHANNELS = (
    (1, 3),
    (4,),
)  # what an axis of channels is told by, where no layout is given; first the usual ones
SHOWN = 5


def to_labelled(data: Any, name: str, layout: str | None = None) -> Labelled:
    """Bring labelled images to uint8 (n, c, h, w) and int64 labels (n,).

    Parameters
    ----------
    data: a tuple (images, labels) of arrays, with images (n, c, h, w), (n, h, w, c) or (n, h, w), which are of one
        channel; uint8, or other numbers, scaled by the rules of `surgicalft.shifts.pixels` (floats must lie in 0..1).
        Or what has a length and gives (image, label) by index, such as a `torch.utils.data.Dataset`, of arrays or of
        Pillow's images, read once and in order; Pillow's become RGB, upright, on white. Or a Labelled, which is given
        back. The channels of arrays are kept, whatever their number: it is the network that takes them or not.
    name: what errors call the data.
    layout: "nchw" or "nhwc"; not needed where one of the two axes alone has 1 or 3 entries, or else 4.

    Returns
    -------
    The images and labels.

    Raises
    ------
    ValueError for anything else, by name and by the first image that is wrong.
    """
    if layout is not None:
        check_choice("layout", layout, LAYOUTS)
    if isinstance(data, Labelled):
        return data
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = _bytes(data[0], f"{name} images"), data[1]
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        images, labels = _items(data, name)
    else:
        raise ValueError(
            f"{name} must be (images, labels), a data set of such pairs that has a length, a folder of class folders "
            f"or a Labelled, not {type(data).__name__}"
        )
    return Labelled(_channels_first(images, layout, name), _labels(labels, len(images), name))


def _items(data: Any, name: str) -> tuple[Tensor, list[Any]]:
    """Images, brought to bytes one by one, and labels."""
    images: list[Tensor] = []
    labels: list[Any] = []
    for i in range(len(data)):
        try:
            item = data[i]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{name} must give (image, label) by index 0..{len(data) - 1}, but {name}[{i}] raises "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError(f"{name}[{i}] must be (image, label), not {type(item).__name__}")
        images.append(_item(item[0], f"{name}[{i}]"))
        labels.append(item[1])
        if images[i].shape != images[0].shape:
            first, other = tuple(images[0].shape), tuple(images[i].shape)
            raise ValueError(
                f"images must be of one shape, but {name}[0] is {first} and {name}[{i}] is {other}"
            )
    if not images:
        raise ValueError(f"{name} is empty")
    return torch.stack(images), labels


def _item(image: Any, where: str) -> Tensor:
    if isinstance(image, Image.Image):
        try:
            image = np.asarray(to_rgb(image)).transpose(2, 0, 1)
        except (
            Exception
        ) as error:  # a file that is damaged, decoded only now, may make Pillow raise anything
            raise ValueError(f"{where} cannot be read: {type(error).__name__}: {error}") from error
    return _bytes(_array(image, where)[None], where)[0]


def _array(value: Any, where: str) -> Tensor:
    """A tensor on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{where} must be an array of numbers, not of {array.dtype}")
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, requirements=["C", "W"]))


def _bytes(value: Any, where: str) -> Tensor:
    """uint8, scaled by `to_levels`; its errors say where."""
    images = _array(value, where)
    if images.dtype == torch.uint8:
        return images
    floats = images.is_floating_point()
    if floats:
        images = images.float()
        _check_finite(images, where)
    try:
        return torch.from_numpy(to_levels(images.numpy()))
    except ValueError as error:
        if not floats:
            raise ValueError(
                f"{where} must be uint8 or float in 0..1, not {images.dtype}: {error}"
            ) from error
        raise ValueError(
            f"{where}: {error}; give uint8, or what they were before they were normalised (the network's own scale is "
            "the argument `normalize`)"
        ) from error


def _check_finite(images: Tensor, where: str) -> None:
    wrong = (~images.isfinite()).reshape(len(images), -1).any(1)
    if wrong.any():
        shown = wrong.nonzero().flatten()[:SHOWN].tolist()
        raise ValueError(
            f"{where}: {int(wrong.sum())} of {len(images)} have pixels that are NaN or infinite, at {shown}"
        )


def _channels_first(images: Tensor, layout: str | None, name: str) -> Tensor:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        raise ValueError(
            f"{name} images must be (n, c, h, w), (n, h, w, c) or (n, h, w), not {tuple(images.shape)}"
        )
    if layout is None:
        layout = _layout(tuple(images.shape), name)
    return images if layout == "nchw" else images.permute(0, 3, 1, 2).contiguous()


def _layout(shape: tuple[int, ...], name: str) -> str:
    for known in CHANNELS:
        first, last = (shape[axis] in known for axis in (1, 3))
        if first != last:
            return "nchw" if first else "nhwc"
        if first:
            break
    raise ValueError(
        f"{name} images of shape {shape}: say which axis holds the channels, layout='nchw' or layout='nhwc'"
    )


def _labels(value: Any, n: int, name: str) -> Tensor:
    if isinstance(value, list):
        value = [v.item() if isinstance(v, Tensor) else v for v in value]
    labels = _array(value, f"{name} labels")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"{name} labels must be integers, not {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(
            f"{name} labels must be of shape ({n},), one for each image, not {tuple(labels.shape)}"
        )
    return labels.to(torch.int64)
