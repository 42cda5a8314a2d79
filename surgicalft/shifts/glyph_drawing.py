"""Draws letters as 32x32 RGB images: fonts from matplotlib, random pose, colour, texture and stroke weight.

Each font's letter is rendered once, large, and kept as the signed distance to its outline. An image looks that
field up under its own pose; thresholding it, with an offset that thickens or thins the strokes, gives the ink's
coverage of each pixel. Source of the idea: Green, "Improved Alpha-Tested Magnification for Vector Textures
and Special Effects" (SIGGRAPH 2007).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from surgicalft.seeds import derive_seed

FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10", "cmmi10"),
)
TEXTURES = ("plain", "stripes", "checks", "clouds")
SIZE = 32  # pixels, the side of an image
RENDERED = 128  # pixels, the side of the large rendering
LONGEST = 80  # pixels, the longer side of the letter in it
SHRINK = 2  # by which the distances are averaged down before they are kept
CLOUD = 6  # the cloud texture is a random CLOUD x CLOUD grid, interpolated
CHUNK = 500  # images drawn at once, to bound memory

# How many random numbers an image takes for what. New ones go last, or every image changes.
NUMBERS = {
    **dict.fromkeys(("font", "length", "angle", "shear", "weight", "texture", "amplitude"), 1),
    **dict.fromkeys(("wavelength", "direction", "phase"), 1),
    **{"shift": 2, "contrast": 3, "paper": 3, "tint": 3, "cloud": CLOUD * CLOUD},
}

Range = tuple[float, float]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Style:
    """Ranges that each image draws from uniformly. Colours: red, green, blue in [0, 1]."""

    length: Range = (13.0, 22.0)  # pixels, the letter's longer side before shear
    angle: Range = (-30.0, 30.0)  # degrees
    shear: Range = (-0.2, 0.2)
    shift: Range = (-3.0, 3.0)  # pixels, across and down
    weight: Range = (0.0, 0.6)  # pixels added to either side of a stroke; negative thins it
    paper: tuple[Range, Range, Range] = ((0.4, 0.95),) * 3
    contrast: tuple[Range, Range, Range] = ((0.1, 0.3),) * 3  # how much darker the ink is
    amplitude: Range = (0.0, 0.04)  # of the texture
    wavelength: Range = (3.5, 9.0)  # pixels, of stripes and checks


def draw(
    letters: str, style: Style, stream: str, textures: Tensor | None = None, start: int = 0
) -> Tensor:
    """Images (n, 3, 32, 32) uint8 of the n letters, of which image i is seeded by (stream, start + i).

    `textures` (n,) indexes TEXTURES; where it is not given each image has a random one. An image depends on
    its seed, letter, texture and style alone, not on n. Between platforms FreeType and the order of
    floating-point operations may differ by a grey level.
    """
    images = torch.empty(len(letters), 3, SIZE, SIZE, dtype=torch.uint8)
    for first in range(0, len(letters), CHUNK):
        part = slice(first, first + CHUNK)
        u = _numbers(stream, start + first, len(letters[part]))
        chosen = (u["texture"] * len(TEXTURES)).astype(int)
        if textures is not None:
            chosen = textures[part].numpy()
        ink = _coverage(letters[part], u, style)[:, None]  # (n, 1, 32, 32)
        contrast = _between(u["contrast"], style.contrast)[..., None, None]  # (n, 3, 1, 1)
        image = np.clip(_paper(chosen, u, style) - ink * contrast, 0, 1)
        images[part] = torch.from_numpy(np.rint(image * 255).astype(np.uint8))
    return images


def _numbers(stream: str, start: int, n: int) -> dict[str, Array]:
    """What for -> (n,) or (n, count) numbers in [0, 1), each row from its own generator."""
    count = sum(NUMBERS.values())
    seeds = (derive_seed("glyphs", stream, start + i) for i in range(n))
    rows = np.array([np.random.default_rng(seed).random(count) for seed in seeds])
    parts = np.split(rows, np.cumsum(list(NUMBERS.values()))[:-1], axis=1)
    return {k: p[:, 0] if p.shape[1] == 1 else p for k, p in zip(NUMBERS, parts, strict=True)}


def _between(u: Array, bounds: Range | tuple[Range, ...]) -> Array:
    low, high = np.array(bounds).T
    return low + u * (high - low)


def _image(scalars: Array) -> Array:
    """(n,) -> (n, 1, 1), to go with (n, 32, 32)."""
    return scalars[:, None, None]


@cache
def _outline(font: str, letter: str) -> NDArray[np.float32]:
    """Signed distance to the letter's outline, (64, 64), positive inside; unit: its longer side."""
    trial = _cropped(font, letter, LONGEST)
    mask = _cropped(font, letter, round(LONGEST**2 / max(trial.size)))
    canvas = Image.new("L", (RENDERED, RENDERED))
    canvas.paste(mask, ((RENDERED - mask.width) // 2, (RENDERED - mask.height) // 2))
    inside = np.asarray(canvas) > 127
    distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
    side = RENDERED // SHRINK
    small = distance.reshape(side, SHRINK, side, SHRINK).mean((1, 3))
    return (small / LONGEST).astype(np.float32)


def _cropped(font: str, letter: str, size: int) -> Image.Image:
    """The letter in black and white at a font size in pixels, with no margin."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    # The basic layout engine is in every build of Pillow; the other one is not.
    face = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (3 * size, 3 * size))
    ImageDraw.Draw(image).text((size, size), letter, fill=255, font=face)
    image = image.point([0] * 128 + [255] * 128)
    return image.crop(image.getbbox())


def _coverage(letters: str, u: dict[str, Array], style: Style) -> Array:
    """The share of each pixel that is ink, (n, 32, 32) in [0, 1]."""
    fonts = (u["font"] * len(FONTS)).astype(int)
    fields = np.stack([_outline(FONTS[f], c) for f, c in zip(fonts, letters, strict=True)])
    length = _between(u["length"], style.length)
    places = torch.from_numpy(_places(length, u, style).astype(np.float32))
    field = F.grid_sample(
        torch.from_numpy(fields)[:, None], places, padding_mode="border", align_corners=False
    )
    pixels = field[:, 0].numpy() * _image(length)
    return np.clip(0.5 + pixels + _image(_between(u["weight"], style.weight)), 0, 1)


def _places(length: Array, u: dict[str, Array], style: Style) -> Array:
    """Where in the outline's field (-1 to 1) each pixel looks, (n, 32, 32, 2), across then down."""
    angle = _image(np.deg2rad(_between(u["angle"], style.angle)))
    x, y = _pixels() - _between(u["shift"], (style.shift,) * 2).T[..., None, None]
    x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    x = x + _image(_between(u["shear"], style.shear)) * y
    return np.stack([x, y], -1) * (2 * LONGEST / RENDERED / length)[:, None, None, None]


def _pixels() -> Array:
    """Coordinates of the pixels' centres from the image's centre, (2, 1, 32, 32), across then down."""
    line = np.arange(SIZE) - (SIZE - 1) / 2
    return np.stack(np.meshgrid(line, line))[:, None]


def _paper(textures: NDArray[np.int64], u: dict[str, Array], style: Style) -> Array:
    """The background, (n, 3, 32, 32)."""
    angle = _image(np.pi * u["direction"])
    turn = _image(2 * np.pi / _between(u["wavelength"], style.wavelength))
    phase = _image(2 * np.pi * u["phase"])
    x, y = _pixels()
    stripes = np.sin(turn * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    crossing = np.sin(turn * (np.cos(angle) * y - np.sin(angle) * x) + phase)
    cloud = torch.from_numpy(2 * u["cloud"] - 1).reshape(-1, 1, CLOUD, CLOUD)
    clouds = F.interpolate(cloud, SIZE, mode="bicubic", align_corners=True)[:, 0].numpy()
    waves = np.stack([0 * stripes, stripes, np.sign(stripes * crossing), clouds])  # as in TEXTURES
    wave = waves[textures, np.arange(len(textures))]  # (n, 32, 32)
    wave = wave * _image(_between(u["amplitude"], style.amplitude))
    colour = _between(u["paper"], style.paper)[..., None, None]  # (n, 3, 1, 1)
    return colour + _between(u["tint"], (0.3, 1.0))[..., None, None] * wave[:, None]
