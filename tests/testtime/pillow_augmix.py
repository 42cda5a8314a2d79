"""AugMix as its publishers compute it: image by image, with Pillow, torchvision's crops and numpy's random numbers.

`views` draws for itself; `views_from` is given the draws of `surgicalft.testtime.augmix`.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import transforms

from surgicalft.testtime.augmix import KINDS, NONE, AugMix, Draws

BILINEAR = Image.Resampling.BILINEAR
Picture = Image.Image


def picture(image: Tensor) -> Picture:
    """uint8 (3, h, w) as Pillow has it."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def pixels(image: Picture) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def affine(image: Picture, *coefficients: float) -> Picture:
    return image.transform(
        image.size, Image.Transform.AFFINE, coefficients, resample=BILINEAR, fillcolor=128
    )


OPERATIONS: dict[str, Callable[[Picture, float], Picture]] = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "rotate": lambda image, d: image.rotate(int(d), resample=BILINEAR, fillcolor=128),
    "solarize": lambda image, t: ImageOps.solarize(image, int(t)),
    "shear_x": lambda image, s: affine(image, 1, s, 0, 0, 1, 0),
    "shear_y": lambda image, s: affine(image, 1, 0, 0, s, 1, 0),
    "translate_x": lambda image, t: affine(image, 1, 0, t, 0, 1, 0),
    "translate_y": lambda image, t: affine(image, 1, 0, 0, 0, 1, t),
    "posterize": lambda image, b: ImageOps.posterize(image, int(b)),
}
NAMES = list(OPERATIONS)


def parameter(name: str, size: tuple[int, int], level: float, rng: np.random.Generator) -> float:
    """Drawn as published: cut to an integer but for shears, negative half the time where that makes sense."""
    drawn = rng.uniform(0.1, level)
    if name == "solarize":
        return 256 - int(drawn * 256 / 10)
    if name == "posterize":
        return 4 - int(drawn * 4 / 10)
    sign = -1 if rng.uniform() > 0.5 else 1
    if name in ("shear_x", "shear_y"):
        return sign * drawn * 0.3 / 10
    largest = {"rotate": 30, "translate_x": size[0] / 3, "translate_y": size[1] / 3}
    return sign * int(drawn * largest.get(name, 0) / 10)


def before(how: AugMix, size: tuple[int, int]) -> Callable[[Picture], Picture]:
    """Crop and flip, with random numbers of torch's."""
    steps = {
        "none": [],
        "padded": [transforms.RandomCrop(size[::-1], padding=how.padding)],
        "resized": [transforms.RandomResizedCrop(size[::-1])],
    }[how.crop]
    return transforms.Compose(steps + [transforms.RandomHorizontalFlip()] * how.flip)


def view(image: Picture, rng: np.random.Generator, how: AugMix, crop: Callable) -> np.ndarray:
    """One augmentation, float32 (h, w, 3) in [0, 1]."""
    image = crop(image)
    w, m = rng.dirichlet([1.0] * how.width), rng.beta(1.0, 1.0)
    mixed = np.float32(m) * as_floats(image)
    for weight in w:
        chain = image
        for _ in range(rng.integers(1, how.depth + 1)):
            name = NAMES[rng.integers(len(NAMES))]
            chain = OPERATIONS[name](chain, parameter(name, image.size, how.level, rng))
        mixed += np.float32((1 - m) * weight) * as_floats(chain)
    return mixed


def views(image: Tensor, n: int, rng: np.random.Generator, how: AugMix) -> Tensor:
    """n augmentations of uint8 (3, h, w): float32 (n, 3, h, w) in [0, 1]. Crops take torch's own random numbers."""
    original = picture(image)
    crop = before(how, original.size)
    mixed = np.stack([view(original, rng, how, crop) for _ in range(n)])
    return torch.from_numpy(mixed).permute(0, 3, 1, 2).contiguous()


def views_from(image: Tensor, draws: Draws, how: AugMix) -> Tensor:
    """One augmentation per row of the draws."""
    rows = [_view_from(picture(image), draws, row, how) for row in range(len(draws.box))]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


def _view_from(image: Picture, draws: Draws, row: int, how: AugMix) -> np.ndarray:
    image = cropped(image, draws.box[row].tolist(), bool(draws.flip[row]), how)
    mixed = draws.weights[row, 0].numpy() * as_floats(image)
    for i, weight in enumerate(draws.weights[row, 1:].numpy()):
        chain = image
        steps = torch.stack([draws.operations[row, i].double(), draws.parameters[row, i]], 1)
        for operation, value in steps.tolist():
            if operation != NONE:
                chain = OPERATIONS[KINDS[int(operation)].name](chain, value)
        mixed += weight * as_floats(chain)
    return mixed


def cropped(image: Picture, box: list[int], flip: bool, how: AugMix) -> Picture:
    size, (top, left, height, width) = image.size, box
    if how.crop == "padded":
        image = ImageOps.expand(image, how.padding)
    image = image.crop((left, top, left + width, top + height)).resize(size, BILINEAR)
    return ImageOps.mirror(image) if flip else image


def as_floats(image: Picture) -> np.ndarray:
    return np.asarray(image, np.float32) / np.float32(255)
