"""The one way from an image to 8-bit RGB: for files, and for the Pillow images and arrays that users hand in.

| image | becomes |
|---|---|
| 8-bit grey, palette, CMYK, YCbCr, LAB, HSV | what Pillow converts it to |
| 1-bit, or an array of bool | 0 or 255 |
| integers of 16 bits or fewer | scaled, the largest value of the stated type to 255: 65535 for 16 bits |
| integers of 32 or 64 bits | scaled by 65535 if the largest lies in 256..65535, by the type's if in its upper half |
| floats | scaled, 1 to 255; all must lie in 0..1 |
| transparency of any kind | put on a white background |
| several frames or pages | the first |

What fits no row is an error that says why: a scale is never guessed. Only the `FORMATS` are opened, whatever a file's
name ends in, so that no other program, such as Ghostscript for EPS, is ever started.
"""

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # as Pillow calls them
SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 339  # TIFF's tags
_WHITE_IS_ZERO, _SIGNED = 0, 2  # values of the last two


def open_image(source: Path | BinaryIO) -> Image.Image:
    """Open an image without decoding it.

    Parameters
    ----------
    source: a file, or the bytes of one.

    Returns
    -------
    Pillow's image, to be closed by `with`.

    Raises
    ------
    OSError for what is no regular file (a pipe would be waited for) or is of none of the `FORMATS`, ValueError for an
    image with more pixels than `PIL.Image.MAX_IMAGE_PIXELS`; whatever else Pillow raises for damaged files.
    """
    if isinstance(source, Path) and not stat.S_ISREG(os.stat(source).st_mode):
        raise OSError("is not a regular file")
    image = Image.open(source, formats=FORMATS)
    try:
        check_pixels(*image.size)
    except ValueError:
        image.close()
        raise
    return image


def check_pixels(width: int, height: int) -> None:
    """ValueError for more pixels than Pillow takes for safe, where Pillow itself may only warn."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise ValueError(
            f"{width} x {height} are more than {limit:,} pixels; PIL.Image.MAX_IMAGE_PIXELS raises that limit"
        )


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image once it is upright; nothing is decoded if it is a square."""
    width, height = image.size
    if width == height or _orientation(image) < 5:
        return width, height
    if image.format == "TIFF":
        image.load()  # turns it, at once or only now, as the version of Pillow has it
        return image.size
    return height, width


def to_rgb(image: Image.Image, upright: bool = True) -> Image.Image:
    """Convert any image to 8-bit RGB by the rules at the top of this file.

    Parameters
    ----------
    image: Pillow's, of any mode.
    upright: turn it as the orientation in its EXIF data says.

    Returns
    -------
    An image of mode RGB.

    Raises
    ------
    ValueError for values that fit no rule; whatever Pillow raises for damaged files.
    """
    image.load()
    turn = TURNS.get(_orientation(image)) if upright else None  # a TIFF was turned by load
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        plain = Image.fromarray(_grey(image)).convert("RGB")
    elif image.mode in _ALPHA or "transparency" in image.info:
        plain = _on_white(image)
    else:
        _refuse_signed(image)
        plain = image.convert("RGB")
    return plain if turn is None else plain.transpose(turn)


def to_levels(values: np.ndarray, largest: int | None = None) -> np.ndarray:
    """Scale numbers to 0..255 by their type, round(255 value / largest), with the rules at the top of this file.

    Parameters
    ----------
    values: of any shape and of a type of bool, integers or floats.
    largest: the value that becomes 255, if it is known better than by the type.

    Returns
    -------
    uint8 of the same shape; `values` themselves if they are uint8.

    Raises
    ------
    ValueError for values that fit no rule, with those that do.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b" or not values.size:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        _check_floats(values)
        return np.rint(values.astype(np.float32) * 255).astype(np.uint8)
    if values.dtype.kind not in "iu":
        raise ValueError(f"images must be of bool, integers or floats, not of {values.dtype}")
    largest = largest or _largest(values)
    exact = np.float32 if largest < 2**16 else np.float64  # 255 * value is, in that type
    scaled: np.ndarray = np.multiply(values.astype(exact), 255) / exact(largest)
    return np.rint(scaled).astype(np.uint8)


def _check_floats(values: np.ndarray) -> None:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("pixels are NaN or infinite")
    if low < 0 or high > 1:
        raise ValueError(f"floats must lie in 0..1, found {low:g}..{high:g}")


def _largest(values: np.ndarray) -> int:
    """The value that stands for white."""
    limits = np.iinfo(values.dtype)
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise ValueError(f"integers must be 0 or more, found {low}..{high}")
    if limits.bits <= 16:
        return int(limits.max)
    if high == 0 or 255 < high < 2**16:
        return 2**16 - 1
    if high > limits.max // 2:
        return int(limits.max)
    raise ValueError(
        f"integers of {limits.bits} bits up to {high} have no clear scale (65535 for a largest value in 256..65535, "
        f"{limits.max} for one above half of that); give uint8, uint16 or floats in 0..1"
    )


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF has it; 1 without EXIF data or with such as cannot be read, like viewers do."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever a damaged block of metadata makes Pillow raise
        return 1


def _tag(image: Image.Image, tag: int) -> int | None:
    """The first value of a TIFF file's tag; None without it."""
    tags: Any = getattr(image, "tag_v2", {})
    value = tags.get(tag)
    return value[0] if isinstance(value, tuple) else value


def _grey(image: Image.Image) -> np.ndarray:
    """uint8 (h, w) of a grey image with more than 8 bits."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        twelve = _tag(image, _BITS) == 12
        values, largest = values.astype(np.uint16), 2**12 - 1 if twelve else None
    else:
        values, largest = values.astype(_kept(image), copy=False), None
    levels = to_levels(values, largest)
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 255 - levels
    if "transparency" in image.info:  # PNG: the value that is transparent
        levels = np.where(values == image.info["transparency"], np.uint8(255), levels)
    return levels


def _kept(image: Image.Image) -> Any:
    """The type that the file of a 32-bit image states."""
    if image.mode == "F":
        return np.float32
    if image.format in ("PNG", "PPM"):  # which have 16 bits at most
        return np.uint16
    if image.format != "TIFF":
        return np.int32
    signed = _tag(image, _SAMPLES) == _SIGNED
    if _tag(image, _BITS) == 16:
        return np.int16 if signed else np.uint16
    return np.int32 if signed else np.uint32


def _refuse_signed(image: Image.Image) -> None:
    if _tag(image, _SAMPLES) == _SIGNED:
        raise ValueError("8-bit integers with a sign have no clear scale; give unsigned ones")


def _on_white(image: Image.Image) -> Image.Image:
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        raise ValueError("a transparent colour in a 16-bit RGB image is not supported")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
