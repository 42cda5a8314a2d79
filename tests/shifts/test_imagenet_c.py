"""ImageNet-C, published and made here, on fixtures of a thousand classes with two images each."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from test_imagenet import IDS, make_split

from surgicalft.shifts import get_scenario, imagenet_c, split_target
from surgicalft.shifts.catalogue import get_data_set
from surgicalft.shifts.corruptions import CORRUPTIONS, corrupt
from surgicalft.shifts.image_files import UnreadableImages
from surgicalft.shifts.imagenet import PER_CLASS


@pytest.fixture(autouse=True)
def few(tmp_path, monkeypatch):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(PER_CLASS, "val", (2, 2))


@pytest.fixture
def published(tmp_path):
    """Severities 2 and 5 of fog; the same pictures in both."""
    for severity in (2, 5):
        make_split(tmp_path / "imagenet-c" / "fog" / str(severity), IDS, 2, (224, 224))
    return tmp_path


def test_the_published_layout(published):
    scenario = get_scenario("imagenet-c/fog")
    assert (scenario.name, scenario.kind) == ("imagenet-c/fog/5", "input")
    assert scenario.source == "imagenet"
    target = scenario.load(published)
    folder = published / "imagenet-c" / "fog" / "5"
    assert target.pool.images.files[:3] == [
        folder / IDS[0] / f"{IDS[0]}_000.JPEG",
        folder / IDS[0] / f"{IDS[0]}_001.JPEG",
        folder / IDS[1] / f"{IDS[1]}_000.JPEG",
    ]
    assert target.pool.labels.tolist() == [k for k in range(1000) for _ in range(2)]
    assert target.classes == 1000 and target.test is None
    stored = np.asarray(Image.open(target.pool.images.files[1])).transpose(2, 0, 1)
    assert (target.pool.images[torch.tensor([1])][0].numpy() == stored).all()
    splits = split_target(target.pool, 1000, 0, seed=0, classes=1000)
    assert len(splits.tune) == len(splits.test) == 1000
    assert get_scenario("imagenet-c/fog/2").load(published).pool.images.files[0].parts[-3] == "2"


@pytest.mark.parametrize("place", ["imagenet-c/weather", "ImageNet-C", "ImageNet-C/weather"])
def test_unpacked_as_the_publishers_archives_are(published, place):
    (published / place).mkdir(parents=True, exist_ok=True)
    (published / "imagenet-c" / "fog").rename(published / place / "fog")
    files = get_scenario("imagenet-c/fog/5").load(published).pool.images.files
    assert files[0].is_relative_to(published / place / "fog" / "5")


def test_every_corruption_is_in_one_archive():
    names = [name for names in imagenet_c.GROUPS.values() for name in names]
    assert sorted(names) == sorted(CORRUPTIONS)
    assert imagenet_c.ARCHIVES.keys() == imagenet_c.GROUPS.keys()
    assert imagenet_c.ARCHIVES["blur"].url == "https://zenodo.org/records/2235448/files/blur.tar"


@pytest.mark.parametrize("top", ["", "weather/"])
def test_the_publishers_archive_is_unpacked_in_the_cache(tmp_path, monkeypatch, top):
    make_split(tmp_path / "fog" / "5", IDS[:3], 1, (224, 224))
    path = tmp_path / "weather.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "fog", f"{top}fog")
    asked = []
    monkeypatch.setattr(imagenet_c, "fetch", lambda archive, _: asked.append(archive.file) or path)
    folder = imagenet_c.published_folder(None, "fog", 5)
    assert folder.is_relative_to(tmp_path / "cache") and len(list(folder.glob("n*/*"))) == 3
    assert asked == ["weather.tar"]
    with pytest.raises(FileNotFoundError, match="has no folder 4"):
        imagenet_c.published_folder(None, "fog", 4)


def test_a_corruption_that_is_nowhere(published, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("surgicalft.shifts.download.pooch.retrieve", unreachable)
    with pytest.raises(FileNotFoundError, match=r"no imagenet-c/snow/.*weather\.tar \(12\.8 GB\)"):
        get_scenario("imagenet-c/snow").load(published)
    with pytest.raises(FileNotFoundError, match=r"fog/3: .* no folder 3; get weather\.tar.*zenodo"):
        get_scenario("imagenet-c/fog/3").load(published)


def test_wrong_counts_classes_and_sizes(published):
    folder = published / "imagenet-c" / "fog" / "5"
    load = get_scenario("imagenet-c/fog/5").load
    (folder / IDS[7] / f"{IDS[7]}_001.JPEG").unlink()
    with pytest.raises(ValueError, match=f"1 classes do not have 2 .JPEG images: {IDS[7]} has 1;"):
        load(published)
    (folder / IDS[7] / f"{IDS[7]}_000.JPEG").unlink()
    (folder / IDS[7]).rmdir()
    with pytest.raises(ValueError, match="999 class folders"):
        load(published)
    make_split(published / "imagenet-c" / "snow" / "5", IDS, 2, (64, 64))
    with pytest.raises(UnreadableImages, match="64 x 64 pixels, expected 224 x 224"):
        get_scenario("imagenet-c/snow").load(published)


@pytest.mark.parametrize("family", ["imagenet-c", "imagenet-c-generated"])
def test_unknown_names(family):
    with pytest.raises(
        ValueError, match=rf"unknown scenario '{family}/mist'; legal: .*{family}/fog"
    ):
        get_scenario(f"{family}/mist")
    for severity in ("0", "6", "five", "", "3/4"):
        with pytest.raises(ValueError, match=r"severity must be one of \[1, 2, 3, 4, 5\], not '"):
            get_scenario(f"{family}/fog/{severity}")


def test_check(published):
    facts = get_data_set("imagenet-c").check(published)
    assert facts == [
        "fog: severities [2, 5], 1000 classes; 50 images opened, 224 x 224 pixels",
    ]
    (published / "imagenet-c" / "frost").mkdir()
    with pytest.raises(FileNotFoundError, match=r"frost has none of the folders \[1, 2, 3, 4, 5\]"):
        imagenet_c.check(published)
    (published / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="zenodo"):
        imagenet_c.check(published / "empty")


@pytest.fixture
def imagenet(tmp_path):
    make_split(tmp_path / "imagenet" / "val", IDS, 2, (320, 300))
    return tmp_path


def test_generated_follows_the_published_recipe(imagenet):
    """Fitted, corrupted by its place among all images, truncated, through JPEG at quality 85."""
    target = get_scenario("imagenet-c-generated/gaussian_noise").load(imagenet)
    assert "corrupted by surgicalft" in target.provenance
    files, fit = target.pool.images.files, target.pool.images.fit
    places = torch.tensor([3, 1501])
    with Image.open(files[3]) as a, Image.open(files[1501]) as b:
        images = torch.from_numpy(np.stack([fit(a), fit(b)]))
    noisy = corrupt(images, "gaussian_noise", 5, index=places, constants="imagenet")
    buffer = io.BytesIO()
    Image.fromarray(noisy[1].permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=85)
    saved = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
    got = target.pool.images[places]
    assert got.dtype == torch.uint8 and torch.equal(got[1], saved)
    assert (got.float() - images.float()).std() > 0.2 * 255  # 0.38, clipped and compressed


def test_generated_images_are_the_same_in_every_part(imagenet):
    pool = get_scenario("imagenet-c-generated/elastic_transform/2").load(imagenet).pool
    rows = torch.tensor([1999, 4, 900])
    whole = pool.images[rows]
    part = pool.take(torch.tensor([4, 900, 1999]))
    assert torch.equal(part.images[:], whole[[1, 2, 0]])
    assert torch.equal(part.labels, torch.tensor([2, 450, 999]))


def test_the_cached_copies_of_two_severities_differ(imagenet):
    keys = {
        get_scenario(f"imagenet-c-generated/{name}").load(imagenet).pool.images.change.name
        for name in ("fog/5", "fog/4", "frost/5")
    }
    assert len(keys) == 3


def test_drawn_frost_says_so(imagenet):
    target = get_scenario("imagenet-c-generated/frost/1").load(imagenet)
    assert target.provenance.endswith("the ice drawn")


def test_generated_without_validation_images(tmp_path):
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no val/"):
        get_scenario("imagenet-c-generated/fog").load(tmp_path)
