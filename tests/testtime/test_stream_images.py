"""Images at test time: bytes pass, other types are converted or refused with what is wrong."""

import pytest
import torch

from surgicalft.testtime.images import as_bytes

IMAGES = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)


def test_bytes_stay_as_they_are():
    assert as_bytes(IMAGES) is IMAGES


def test_numbers_between_0_and_1_become_the_bytes_they_came_from():
    assert torch.equal(as_bytes(IMAGES.float() / 255), IMAGES)
    assert torch.equal(as_bytes(IMAGES.double() / 255), IMAGES)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], r"shape \(n, 3, h, w\), not \(3, 4, 4\)"),
        (IMAGES[:, :1], r"not \(2, 1, 4, 4\)"),
        (IMAGES[:0], "the stream is empty"),
        (IMAGES.long(), "not torch.int64"),
        (IMAGES.float(), r"in \[0, 1\], not in \[0, 95\]"),
        (-IMAGES.float() / 255, "must be in"),
        (torch.full((1, 3, 2, 2), float("nan")), "12 values of the images are not finite"),
        (torch.full((1, 3, 2, 2), float("inf")), "12 values of the images are not finite"),
    ],
)
def test_others_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        as_bytes(images)


def test_a_stream_keeps_its_size():
    with pytest.raises(ValueError, match=r"images are \(3, 8, 8\), not \(3, 4, 4\)"):
        as_bytes(IMAGES, (3, 8, 8))
