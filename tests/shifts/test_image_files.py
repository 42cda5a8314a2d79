"""Images in files stand for the tensor that they decode to."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from surgicalft.shifts.base import Labelled, split_target
from surgicalft.shifts.image_files import Change, Fit, ImageFiles, UnreadableImages, as_tensor


@pytest.fixture
def files(tmp_path):
    """Thirty images of different sizes, of smooth colours, that end in .png."""
    random = np.random.default_rng(0)
    paths = []
    for i in range(30):
        small = random.integers(0, 255, (4, 5, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i:02}.png")
        Image.fromarray(small).resize((60 + i, 50 + 2 * i), Image.Resampling.BICUBIC).save(
            paths[-1]
        )
    return paths


@pytest.mark.parametrize(
    ("fit", "reference"),
    [
        (Fit(32, resize=40), [v2.Resize(40), v2.CenterCrop(32)]),
        (Fit(32), [v2.Resize(32), v2.CenterCrop(32)]),
        (Fit(32, resize=40, squash=True), [v2.Resize((40, 40)), v2.CenterCrop(32)]),
        (Fit(32, before=48), [v2.CenterCrop(48), v2.Resize(32), v2.CenterCrop(32)]),
    ],
)
def test_fits_as_torchvision_does(files, fit, reference):
    for file in files:
        with Image.open(file) as image:
            theirs = np.asarray(v2.Compose(reference)(image)).transpose(2, 0, 1)
            ours = fit(image)
        assert ours.shape == (3, 32, 32) and ours.dtype == np.uint8
        assert np.array_equal(ours, theirs)


def test_views_and_slices_agree_with_the_tensor(files):
    images = ImageFiles(files, Fit(16))
    whole = images[:]
    assert images.shape == whole.shape == (30, 3, 16, 16) and images.dtype == whole.dtype
    index = torch.tensor([7, 3, 20])
    assert torch.equal(images.view(index)[:], whole[index])
    assert torch.equal(images.view(index).view(torch.tensor([2]))[:], whole[20:21])
    assert torch.equal(images.view(index)[torch.tensor([1, 1])], whole[torch.tensor([3, 3])])
    assert torch.equal(torch.cat([as_tensor(p) for p in images.split(8)]), whole)
    assert images.view(index).file(1) == files[3]


def test_a_split_reads_nothing(files, monkeypatch):
    data = Labelled(ImageFiles(files, Fit(16)), torch.arange(30) % 3)
    whole = Labelled(data.images[:], data.labels)
    monkeypatch.setattr(ImageFiles, "read_all", lambda *_: pytest.fail("an image was read"))
    lazy = split_target(data, 6, 6, seed=0, classes=3)
    monkeypatch.undo()
    read = split_target(whole, 6, 6, seed=0, classes=3)
    for part in ("tune", "valid", "test"):
        assert torch.equal(getattr(lazy, part).images[:], getattr(read, part).images), part


def test_changes_know_the_images_they_change(files):
    def add(images, numbers):
        return (images // 8) + numbers[:, None, None, None].to(torch.uint8)

    images = ImageFiles(files, Fit(16), Change("add", add))
    plain = ImageFiles(files, Fit(16))
    index = torch.tensor([9, 4])
    expected = plain.view(index)[:] // 8 + torch.tensor([9, 4])[:, None, None, None]
    assert torch.equal(images.view(index)[:], expected.to(torch.uint8))


def test_unreadable_images_are_named_and_counted(files):
    files[3].write_bytes(b"not an image")
    files[5].write_bytes(files[5].read_bytes()[:100])
    files[8].unlink()
    images = ImageFiles(files, Fit(16))
    assert images[torch.tensor([0, 1])].shape == (2, 3, 16, 16)
    with pytest.raises(
        UnreadableImages, match=r"3 of 30 images cannot be read: .*03\.png"
    ) as caught:
        images[:]
    assert set(caught.value.files) == {files[3], files[5], files[8]}


def test_a_pipe_is_not_waited_for(files):
    files[4].unlink()
    os.mkfifo(files[4])
    with pytest.raises(UnreadableImages, match=r"04\.png \(OSError: is not a regular file\)"):
        ImageFiles(files, Fit(16))[:]


def test_images_with_too_many_pixels_are_named(files, monkeypatch):
    """Also those of which Pillow only warns, and those that would become so large."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # more than in any of the thirty
    Image.new("L", (150, 100)).save(files[2])  # a warning from 10,000 on
    Image.new("L", (300, 100)).save(files[3])  # an error from 20,000 on
    Image.new("L", (1, 400)).save(files[4])  # 16 x 6,400 once it is 16 wide
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableImages, match=r"3 of 30 .*raises that limit") as caught:
            ImageFiles(files, Fit(16))[:]
    assert set(caught.value.files) == {files[2], files[3], files[4]}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert len(ImageFiles(files, Fit(16))[:]) == 30


def test_images_are_turned_where_that_is_asked_for(files):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    with Image.open(files[0]) as image:
        image.save(files[1], exif=exif)
    first, turned = ImageFiles(files[:2], Fit(16, squash=True, upright=True))[:]
    assert (turned.flip(1, 2).int() - first.int()).abs().max() <= 1  # resampling rounds
    assert (turned.int() - first.int()).abs().max() > 50
    plain = ImageFiles(files[:2], Fit(16))[:]
    assert torch.equal(plain[0], plain[1])


def test_a_file_that_is_gone_has_a_key(files):
    before = ImageFiles(files, Fit(16)).key()
    files[0].unlink()
    assert ImageFiles(files, Fit(16)).key() != before


def test_contents_change_with_files_and_treatment(files, tmp_path):
    images = ImageFiles(files, Fit(16))
    others = [
        ImageFiles(files[1:], Fit(16)),
        ImageFiles(files, Fit(15)),
        ImageFiles(files, Fit(16), Change("x", lambda images, _: images)),
    ]
    assert len({x.contents() for x in (images, *others)}) == 4
    assert len({x.key() for x in (images, *others)}) == 4
    assert images.view(torch.arange(3)).contents() != images.contents()
    assert images.view(torch.arange(3)).key() == images.key()
