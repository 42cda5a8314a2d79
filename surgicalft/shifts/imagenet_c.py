"""ImageNet-C, published or made here: scenarios `imagenet-c/<corruption>[/severity]`, `imagenet-c-generated/...`.

Both depart from the source `imagenet`; severity is 1 to 5, and 5, the paper's, if not given. The published images are
read from `<corruption>/<severity>/<WordNet id>/*.JPEG`, 50 for each of 1000 classes, 224 x 224 pixels, in the data
folder, also where the publisher's archives were unpacked into folders of their own (`noise/gaussian_noise/...`), or
downloaded. Those made here follow the published recipe: ImageNet's validation images, shorter side 256, centre 224,
corrupted by `surgicalft.shifts.corruptions` with the constants for ImageNet, and through JPEG at quality 85, as the
publisher saved them. The paper tunes on 5 images of each class and reports on the rest.
Hendrycks and Dietterich 2019; 66 GB, CC BY 4.0, the photographs under ImageNet's terms of access.
"""

from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from surgicalft.paths import cache_dir
from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.shifts.archives import unpack
from surgicalft.shifts.base import Scenario, Target, register_scenario
from surgicalft.shifts.catalogue import DataSet, register_data_set
from surgicalft.shifts.corruptions import (
    CORRUPTIONS,
    DRAWN,
    SEVERITIES,
    corrupt,
    parse_severity,
)
from surgicalft.shifts.download import Archive, fetch
from surgicalft.shifts.image_files import Change, Fit
from surgicalft.shifts.imagenet import (
    CLASSES,
    PER_CLASS,
    check_headers,
    class_ids,
    find_images,
    imagenet_split,
    label,
    label_all,
)

PLACES = ("imagenet-c", "ImageNet-C")
PAGE = "https://zenodo.org/records/2235448"
SIDE = 224
CORRUPTION_SEED = 0
QUALITY = 85  # of the publisher's JPEG files

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
_SUMS = {
    "noise": ("e80562d7f6c3f8834afb1ecf27252745", "22.6 GB"),
    "blur": ("2d8e81fdd8e07fef67b9334fa635e45c", "7.1 GB"),
    "weather": ("33ffea4db4d93fe4a428c40a6ce0c25d", "12.8 GB"),
    "digital": ("89157860d7b10d5797849337ca2e5c03", "7.8 GB"),
    "extra": ("d492dfba5fc162d8ec2c3cd8ee672984", "15.8 GB"),
}
ARCHIVES = {
    group: Archive(f"{PAGE}/files/{group}.tar", f"md5:{md5}", PAGE, size)
    for group, (md5, size) in _SUMS.items()
}


def local_folder(data_dir: Path | None, corruption: str) -> Path | None:
    """Where the data folder keeps that corruption's severities, if it does."""
    group = group_of(corruption)
    root = resolve_data_dir(data_dir)
    nested = [root / place / between for place in PLACES for between in ("", group)] if root else []
    return next((f / corruption for f in nested if (f / corruption).is_dir()), None)


def group_of(corruption: str) -> str:
    """The publisher's archive that holds the corruption."""
    return next(group for group, names in GROUPS.items() if corruption in names)


def published_folder(data_dir: Path | None, corruption: str, severity: int) -> Path:
    """The class folders of one corruption and severity, local or downloaded; FileNotFoundError where neither."""
    found = local_folder(data_dir, corruption)
    if found is None:
        looked_for = f"imagenet-c: no {PLACES[0]}/{corruption}/ in {data_dir or 'any data folder'}"
        archive = fetch(ARCHIVES[group_of(corruption)], looked_for)
        unpacked = unpack(archive, cache_dir("unpacked", "imagenet-c") / group_of(corruption))
        inner = unpacked / group_of(corruption) / corruption
        found = inner if inner.is_dir() else unpacked / corruption
    if not (found / str(severity)).is_dir():
        raise FileNotFoundError(
            f"imagenet-c/{corruption}/{severity}: {found} has no folder {severity}; get {group_of(corruption)}.tar "
            f"from {PAGE} and unpack it into {PLACES[0]}/ in the data folder (data_dir or SURGICALFT_DATA)"
        )
    return found / str(severity)


def _published(corruption: str, *parts: str) -> Scenario:
    severity = parse_severity(*parts)

    def load(data_dir: Path | None) -> Target:
        folder = published_folder(resolve_data_dir(data_dir), corruption, severity)
        ids = class_ids(folder)
        found = find_images(folder, ids, PER_CLASS["val"])
        check_headers(found[ids[0]][:1], SIDE)
        pool = label(found, [[i] for i in ids], Fit(SIDE))
        return Target(pool, CLASSES, "published ImageNet-C")

    return Scenario(f"imagenet-c/{corruption}/{severity}", "input", "imagenet", load)


def _generated(corruption: str, *parts: str) -> Scenario:
    severity = parse_severity(*parts)
    change = Change(
        f"{corruption}/{severity}, ImageNet's constants, seed {CORRUPTION_SEED}, JPEG {QUALITY}",
        partial(corrupt_and_save, corruption, severity),
    )

    def load(data_dir: Path | None) -> Target:
        pool = label_all(imagenet_split(data_dir, "val"), "val", change=change)
        drawn = ", the ice drawn" if corruption in DRAWN else ""
        return Target(pool, CLASSES, f"imagenet validation images, corrupted by surgicalft{drawn}")

    return Scenario(f"imagenet-c-generated/{corruption}/{severity}", "input", "imagenet", load)


def corrupt_and_save(corruption: str, severity: int, images: Tensor, numbers: Tensor) -> Tensor:
    """Images (k, 3, s, s) uint8, corrupted by their numbers (k,), and what JPEG leaves of them."""
    out = corrupt(
        images, corruption, severity, CORRUPTION_SEED, index=numbers, constants="imagenet"
    )
    pixels = out.permute(0, 2, 3, 1).numpy()
    saved = [_through_jpeg(image) for image in pixels]
    return torch.from_numpy(np.stack(saved)).permute(0, 3, 1, 2).contiguous() if saved else out


def _through_jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(buffer))


def check(data_dir: Path | None = None) -> list[str]:
    """For each corruption that is there: its severities, their classes, and the strongest one's counts and sizes."""
    facts = []
    for corruption in CORRUPTIONS:
        folder = local_folder(data_dir, corruption)
        if folder is None:
            continue
        severities = [s for s in SEVERITIES if (folder / str(s)).is_dir()]
        if not severities:
            raise FileNotFoundError(f"{folder} has none of the folders {list(SEVERITIES)}")
        ids = [class_ids(folder / str(s)) for s in severities][-1]
        strongest = folder / str(severities[-1])
        found = find_images(strongest, ids, PER_CLASS["val"])
        opened = check_headers([files[0] for files in found.values()], SIDE)
        facts.append(f"{corruption}: severities {severities}, {len(ids)} classes; {opened}")
    if not facts:
        where = f"{PLACES[0]}/<corruption>/ in {data_dir or 'any data folder'}"
        raise FileNotFoundError(f"imagenet-c: no {where}; get it from {PAGE}")
    return facts


register_scenario("imagenet-c", _published, CORRUPTIONS)
register_scenario("imagenet-c-generated", _generated, CORRUPTIONS)
register_data_set(
    DataSet(
        "imagenet-c",
        ("imagenet-c",),
        "CC BY 4.0; the photographs under ImageNet's terms of access",
        "66 GB in five archives, and as much again unpacked; downloaded by archive ("
        + ", ".join(f"{group} {archive.size}" for group, archive in ARCHIVES.items())
        + ")",
        f"Dan Hendrycks and Thomas Dietterich, {PAGE}",
        "imagenet-c/<corruption>/<severity>/<WordNet id>/*.JPEG, also inside "
        f"{{{','.join(GROUPS)}}}/; 50 images of 224 x 224 pixels a class",
        PLACES,
        check,
    )
)
