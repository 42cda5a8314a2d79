"""Features are computed once, in order, kept while there is room, and made from images wherever these are."""

import numpy as np
import pytest
import torch
from PIL import Image

from surgicalft.blocks import Blocks
from surgicalft.features import FeatureCache, compute_features
from surgicalft.freezing import freeze
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.shifts.image_files import Fit, ImageFiles, MappedImages
from surgicalft.split import split, trace


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ResNetCifar(8, (8, 8, 8), classes=4).eval()


def cut(network, selection):
    chosen = Blocks.of(network).select(selection)
    freeze(network, chosen)
    return split(network, trace(network), chosen.parameters, torch.rand(2, 3, 32, 32))


def test_features_are_computed_once_and_dropped_when_there_is_no_room(network):
    parts, images = cut(network, "last"), torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    calls = []
    parts.prefix.register_forward_hook(lambda *_: calls.append(1))
    cache = FeatureCache(None)
    first, again = (cache.get(parts, "tune", images) for _ in range(2))
    assert len(calls) == 1 and first[0] is again[0]
    small = FeatureCache(None, max_bytes=1)
    assert sum(len(batch[0]) for batch in small.batches(parts, "test", images, size=4)) == 10
    assert not small._recent.size  # streamed, nothing kept


def test_batches_are_the_features_in_order(network):
    images = torch.randint(0, 256, (11, 3, 32, 32), dtype=torch.uint8)
    parts = cut(network, "block 3")
    expected = compute_features(parts.prefix, images)
    for cache in (FeatureCache(None), FeatureCache(None, max_bytes=1)):
        got = zip(*cache.batches(parts, "test", images, size=4), strict=True)
        for values, value in zip(got, expected, strict=True):
            torch.testing.assert_close(torch.cat(values), value)


def test_uncut_the_features_are_the_images_as_bytes(network):
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    (kept,) = FeatureCache(None).get(cut(network, "all"), "tune", images)
    assert kept.dtype == torch.uint8 and torch.equal(kept, images)


@pytest.mark.parametrize("selection", ["last", "all"])
def test_images_that_are_not_in_memory(network, selection, tmp_path):
    images = torch.randint(0, 256, (11, 3, 32, 32), dtype=torch.uint8)
    files = [tmp_path / f"{i:02}.png" for i in range(11)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(file)
    parts = cut(network, selection)
    for lazy in (ImageFiles(files, Fit(32)), MappedImages(images.numpy(), torch.arange(11))):
        for function in (FeatureCache(None).get, FeatureCache(None, max_bytes=1).get):
            for got, expected in zip(
                function(parts, "tune", lazy), function(parts, "tune", images), strict=True
            ):
                assert torch.equal(got, expected)
        batches = FeatureCache(None, max_bytes=1).batches
        got, expected = (list(batches(parts, "test", x, size=4)) for x in (lazy, images))
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other)
