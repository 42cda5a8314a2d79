"""What pixels become: a scale is by the stated type or refused, and images stand upright, on white."""

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from surgicalft.shifts.pixels import open_image, to_levels, to_rgb, upright_size

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)  # every level once: its mean is 127.5


def read(path, upright=True):
    """The pixels of a file, (h, w, 3)."""
    with open_image(path) as image:
        return np.asarray(to_rgb(image, upright))


def saved(image, path, **options):
    image.save(path, **options)
    return path


def grey(pixels):
    """The one channel that all three are."""
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("16 bits.png", RAMP.astype(np.uint16) * 257),
        ("16 bits.tif", RAMP.astype(np.uint16) * 257),
        ("16 bits.pgm", RAMP.astype(np.uint16) * 257),
        ("16 bits in 32.tif", RAMP.astype(np.int32) * 257),
        ("32 bits.tif", (RAMP / 255 * (2**31 - 1)).astype(np.int32)),
        ("floats.tif", RAMP.astype(np.float32) / 255),
    ],
)
def test_more_than_8_bits_are_scaled_not_clipped(tmp_path, name, values):
    found = grey(read(saved(Image.fromarray(values), tmp_path / name)))
    assert np.array_equal(found, RAMP)
    assert found.mean() == 127.5


def test_a_fine_ramp_rounds_to_the_nearest_level(tmp_path):
    values = np.linspace(0, 65535, 4096).round().astype(np.uint16).reshape(64, 64)
    found = grey(read(saved(Image.fromarray(values), tmp_path / "ramp.png")))
    assert abs(found.mean() - 127.5) < 0.01  # 127.0 if they were rounded down
    assert np.abs(found - values / 257).max() <= 0.5


def tiff(path, data, bits, sample=1, photometric=1, side=16):
    """A TIFF file without compression, whose tags say what its bytes are."""
    tags = [(256, side), (257, side), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, side), (279, len(data)), (339, sample)]
    body = bytearray(b"II*\0" + (8 + len(data)).to_bytes(4, "little") + data)
    body += len(tags).to_bytes(2, "little")
    for tag, value in tags:
        body += tag.to_bytes(2, "little") + (4).to_bytes(2, "little")
        body += (1).to_bytes(4, "little") + value.to_bytes(4, "little")
    path.write_bytes(bytes(body) + bytes(4))
    return path


def test_a_tiff_file_states_its_type(tmp_path):
    path = tmp_path / "a.tif"
    unsigned = (RAMP.astype(np.uint32) * 16843009).tobytes()  # up to 2^32 - 1
    assert np.array_equal(grey(read(tiff(path, unsigned, 32))), RAMP)
    signed = (RAMP / 255 * 32767).round().astype(np.int16).tobytes()
    assert np.array_equal(grey(read(tiff(path, signed, 16, sample=2))), RAMP)
    inverted = (65535 - RAMP.astype(np.uint16) * 257).tobytes()  # white is 0
    assert np.array_equal(grey(read(tiff(path, inverted, 16, photometric=0))), RAMP)
    a, b = (RAMP.flatten() / 255 * 4095).round().astype(int).reshape(-1, 2).T  # two in three bytes
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], 1).astype(np.uint8).tobytes()
    assert np.array_equal(grey(read(tiff(path, packed, 12))), RAMP)
    with pytest.raises(ValueError, match="8-bit integers with a sign have no clear scale"):
        read(tiff(path, RAMP.tobytes(), 8, sample=2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RAMP.astype(np.int32), "integers of 32 bits up to 255 have no clear scale"),
        (RAMP.astype(np.int32) * 2000, "integers of 32 bits up to 510000 have no clear scale"),
        (RAMP.astype(np.int32) - 1, r"integers must be 0 or more, found -1\.\.254"),
        (RAMP.astype(np.float32), r"floats must lie in 0\.\.1, found 0\.\.255"),
        (RAMP.astype(np.float32) / 255 - 0.5, r"floats must lie in 0\.\.1, found -0\.5\.\.0\.5"),
        (np.full((4, 4), np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_what_fits_no_rule_is_refused(tmp_path, values, message):
    path = saved(Image.fromarray(values), tmp_path / "a.tif")
    with pytest.raises(ValueError, match=message):
        read(path)
    with pytest.raises(ValueError, match=message):
        to_rgb(Image.fromarray(values))
    with pytest.raises(ValueError, match=message):
        to_levels(values)


def test_levels_of_arrays():
    for values in (RAMP, RAMP / 255, (RAMP / 255).astype(np.float32), RAMP.astype(np.uint16) * 257):
        found = to_levels(values)
        assert found.dtype == np.uint8 and np.array_equal(found, RAMP)
    assert to_levels(np.array([False, True])).tolist() == [0, 255]
    assert to_levels(np.array([0, 127], np.int8)).tolist() == [0, 255]
    assert to_levels(np.array([0, 65535])).tolist() == [0, 255]  # int64
    assert to_levels(np.zeros(3, np.int64)).tolist() == [0, 0, 0]
    assert to_levels(np.zeros((0, 3))).shape == (0, 3)


CORNERS = np.zeros((8, 16, 3), np.uint8)  # red, green / blue, white: one colour a corner
CORNERS[:4, :8] = 255, 0, 0
CORNERS[:4, 8:] = 0, 255, 0
CORNERS[4:, :8] = 0, 0, 255
CORNERS[4:, 8:] = 255, 255, 255


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    options |= {"lossless": True} if suffix == "webp" else {}
    path = saved(Image.fromarray(CORNERS), tmp_path / f"a.{suffix}", exif=exif, **options)
    found = read(path).astype(int)
    # Where the file's top left corner goes, by the standard.
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)}
    corners |= {5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    red = corners[orientation]
    assert np.abs(found[red] - [255, 0, 0]).max() < 8
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(found, expected)
    with open_image(path) as image:
        assert upright_size(image) == (expected.shape[1], expected.shape[0])
    assert expected.shape[:2] == ((8, 16) if orientation < 5 else (16, 8))


def test_orientation_may_be_ignored_and_may_be_damaged(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(path, upright=False), CORNERS)
    image = Image.fromarray(CORNERS)
    image.info["exif"] = b"Exif\0\0broken"
    assert np.array_equal(np.asarray(to_rgb(image)), CORNERS)


def test_16_bits_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    Image.fromarray(RAMP[:8].astype(np.uint16) * 257).save(path, exif=exif)
    assert np.array_equal(grey(read(path)), np.rot90(RAMP[:8], -1))


def test_transparency_is_put_on_white(tmp_path):
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0], red[:, :4, 3], red[:, 4, 3] = 255, 255, 128  # opaque, half, none
    row = [[255, 0, 0]] * 4 + [[255, 127, 127]] + [[255, 255, 255]] * 3
    for suffix, options in {"png": {}, "webp": {"lossless": True}, "tif": {}}.items():
        path = saved(Image.fromarray(red), tmp_path / f"a.{suffix}", **options)
        assert read(path)[0].tolist() == row, suffix
    black = Image.fromarray(red).convert("LA")
    assert read(saved(black, tmp_path / "la.png"))[0, 7].tolist() == [255, 255, 255]
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.paste(1, (0, 0, 4, 8))
    for key in (0, b"\0\xff"):  # colour 0 is transparent
        found = read(saved(palette, tmp_path / "p.png", transparency=key))
        assert found[0, [0, 7]].tolist() == [[255, 0, 0], [255, 255, 255]]
    gif = saved(palette, tmp_path / "p.gif", transparency=0)
    assert read(gif)[0, [0, 7]].tolist() == [[255, 0, 0], [255, 255, 255]]
    keyed = saved(Image.fromarray(red[..., :3] // 2), tmp_path / "k.png", transparency=(127, 0, 0))
    assert (read(keyed) == 255).all()


def test_a_transparent_value_of_16_bits(tmp_path):
    image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    image.info["transparency"] = 257
    expected = np.where(RAMP == 1, 255, RAMP)
    assert np.array_equal(grey(np.asarray(to_rgb(image))), expected)


def test_other_modes(tmp_path):
    stairs = Image.fromarray(RAMP)
    assert np.array_equal(grey(read(saved(stairs, tmp_path / "a.png"))), RAMP)
    assert np.array_equal(grey(np.asarray(to_rgb(stairs.convert("P")))), RAMP)
    bits = read(saved(Image.fromarray(RAMP > 127), tmp_path / "b.png"))
    assert np.array_equal(grey(bits), np.where(RAMP > 127, 255, 0))
    cmyk = read(saved(Image.fromarray(CORNERS).convert("CMYK"), tmp_path / "c.tif"))
    assert np.array_equal(cmyk, CORNERS)
    frames = [Image.new("RGB", (8, 8), (v, v, v)) for v in (10, 200)]
    several = saved(frames[0], tmp_path / "d.tif", save_all=True, append_images=frames[1:])
    assert (read(several) == 10).all()


def test_only_listed_formats_are_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("was started"))
    path = tmp_path / "a.png"
    saved(Image.fromarray(CORNERS), tmp_path / "a.eps").rename(path)
    with pytest.raises(OSError, match="cannot identify image file"):
        read(path)
