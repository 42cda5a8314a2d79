"""Draws letters as 32x32 RGB images: fonts from matplotlib, random pose, colour, texture and stroke weight.

Each font's letter is rendered once, large, and kept as a signed distance to its outline. An image warps that
field by its own pose; thresholding it, with an offset that thickens or thins the strokes, gives the ink's
coverage of each pixel. Source of the idea: Green, "Improved Alpha-Tested Magnification for Vector Textures
and Special Effects" (SIGGRAPH 2007 course notes).
"""

from dataclasses import dataclass
from functools import lru_cache
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
SIZE = 32  # pixels of an image's side
RENDERED, LONGEST, POOL = 256, 160, 4  # pixels: the large rendering, its letter's longer side, its shrinking
CLOUD = 6  # an image's cloud texture is a random CLOUD x CLOUD grid, interpolated
CHUNK = 500  # images drawn at once, to bound memory

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Ranges from which each image draws uniformly. Colours lie in [0, 1] per channel (red, green, blue)."""

    length: Range = (13.0, 22.0)  # pixels, the letter's longer side before shear
    angle: Range = (-30.0, 30.0)  # degrees
    shear: Range = (-0.2, 0.2)
    shift: Range = (-3.0, 3.0)  # pixels, across and down
    weight: Range = (0.0, 0.6)  # pixels added to either side of a stroke; negative thins it
    paper: tuple[Range, Range, Range] = ((0.4, 0.95),) * 3
    contrast: tuple[Range, Range, Range] = ((0.1, 0.3),) * 3  # paper less ink
    amplitude: Range = (0.0, 0.04)  # of the texture
    wavelength: Range = (3.5, 9.0)  # pixels, of stripes and checks


def draw(
    letters: str, textures: NDArray[np.int64] | None, style: Style, stream: str, start: int = 0
) -> Tensor:
    """Images (n, 3, 32, 32) uint8 of the n `letters`; image j has the seed (stream, start + j).

    `textures` (n,) indexes TEXTURES, or is None for a random one each. An image depends on its seed, letter,
    texture and style alone, not on n. FreeType and floating point may differ by a grey level across platforms.
    """
    chunks = []
    for first in range(0, len(letters), CHUNK):
        part = slice(first, first + CHUNK)
        u = _uniforms(stream, start + first, len(letters[part]))
        chosen = (u["texture"] * len(TEXTURES)).astype(int) if textures is None else textures[part]
        ink = _coverage(letters[part], u, style)  # (n, 32, 32)
        paper = _paper(chosen, u, style)  # (n, 32, 32, 3)
        contrast = _between(u["contrast"], style.contrast)[:, None, None]
        image = np.clip(paper - ink[..., None] * contrast, 0, 1)
        chunks.append(torch.from_numpy(np.rint(image * 255).astype(np.uint8)).permute(0, 3, 1, 2))
    return torch.cat(chunks).contiguous() if chunks else torch.empty(0, 3, SIZE, SIZE, dtype=torch.uint8)


COUNTS = {
    **dict.fromkeys(("font", "length", "angle", "shear", "weight", "texture", "amplitude"), 1),
    **dict.fromkeys(("wavelength", "direction", "phase"), 1),
    **{"shift": 2, "contrast": 3, "paper": 3, "tint": 3, "cloud": CLOUD * CLOUD},
}


def _uniforms(stream: str, start: int, n: int) -> dict[str, NDArray[np.float64]]:
    """Name -> (n,) or (n, count) numbers in [0, 1), each row from its own generator."""
    rows = [
        np.random.default_rng(derive_seed("glyphs", stream, start + i)).random(sum(COUNTS.values()))
        for i in range(n)
    ]
    parts = np.split(np.array(rows), np.cumsum(list(COUNTS.values()))[:-1], axis=1)
    return {name: p[:, 0] if p.shape[1] == 1 else p for name, p in zip(COUNTS, parts, strict=True)}


def _between(u: NDArray[np.float64], bounds: Range | tuple[Range, ...]) -> NDArray[np.float64]:
    low, high = np.array(bounds).T
    return low + u * (high - low)


@lru_cache(maxsize=None)
def _outline(font: str, letter: str) -> NDArray[np.float32]:
    """Signed distance to the letter's outline, positive inside; unit: the letter's longer side."""
    path = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf")
    # The basic layout engine is in every build of Pillow; the other one is not.
    load = lambda size: ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)  # noqa
    left, top, right, bottom = load(200).getbbox(letter)
    face = load(round(200 * LONGEST / max(right - left, bottom - top)))
    left, top, right, bottom = face.getbbox(letter)
    canvas = Image.new("L", (RENDERED, RENDERED))
    corner = ((RENDERED - left - right) / 2, (RENDERED - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=face)
    inside = np.asarray(canvas) > 127
    distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
    side = RENDERED // POOL
    return (distance.reshape(side, POOL, side, POOL).mean((1, 3)) / LONGEST).astype(np.float32)


def _coverage(letters: str, u: dict[str, NDArray[np.float64]], style: Style) -> NDArray[np.float64]:
    """The share of each pixel that is ink, (n, 32, 32) in [0, 1]."""
    fonts = (u["font"] * len(FONTS)).astype(int)
    fields = np.stack([_outline(FONTS[f], c) for f, c in zip(fonts, letters, strict=True)])
    length = _between(u["length"], style.length)
    grid = torch.from_numpy(_pose(length, u, style).astype(np.float32))
    warped = F.grid_sample(
        torch.from_numpy(fields)[:, None], grid, padding_mode="border", align_corners=False
    )[:, 0]
    pixels = warped.numpy() * length[:, None, None]
    return np.clip(0.5 + pixels + _between(u["weight"], style.weight)[:, None, None], 0, 1)


def _pose(
    length: NDArray[np.float64], u: dict[str, NDArray[np.float64]], style: Style
) -> NDArray[np.float64]:
    """Where in the outline's field (from -1 to 1) each pixel looks: (n, 32, 32, 2), x before y."""
    angle = np.deg2rad(_between(u["angle"], style.angle))[:, None, None]
    x, y = _pixels() - _between(u["shift"], (style.shift,) * 2).T[:, :, None, None]
    x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    x = x + _between(u["shear"], style.shear)[:, None, None] * y
    return np.stack([x, y], -1) * (2 * LONGEST / RENDERED / length)[:, None, None, None]


def _pixels() -> NDArray[np.float64]:
    """Coordinates of the pixels' centres from the image's centre, (2, 1, 32, 32), x before y."""
    line = np.arange(SIZE) - (SIZE - 1) / 2
    return np.stack(np.meshgrid(line, line))[:, None]


def _paper(
    textures: NDArray[np.int64], u: dict[str, NDArray[np.float64]], style: Style
) -> NDArray[np.float64]:
    """The background, (n, 32, 32, 3)."""
    angle = (np.pi * u["direction"])[:, None, None]
    turn = (2 * np.pi / _between(u["wavelength"], style.wavelength))[:, None, None]
    phase = (2 * np.pi * u["phase"])[:, None, None]
    x, y = _pixels()
    along = np.sin(turn * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    across = np.sin(turn * (np.cos(angle) * y - np.sin(angle) * x) + phase)
    grid = torch.from_numpy(2 * u["cloud"] - 1).reshape(-1, 1, CLOUD, CLOUD)
    clouds = F.interpolate(grid, SIZE, mode="bicubic", align_corners=True)[:, 0].numpy()
    waves = np.stack([0 * along, along, np.sign(along * across), clouds])  # as in TEXTURES
    wave = waves[textures, np.arange(len(textures))] * _between(u["amplitude"], style.amplitude)[:, None, None]
    tint = _between(u["tint"], (0.3, 1.0))
    return _between(u["paper"], style.paper)[:, None, None] + wave[..., None] * tint[:, None, None]
