"""ImageNet (ILSVRC 2012) in a local folder: `{train,val}/<WordNet id>/*.JPEG`, the classes in the order of their ids.

Source: `imagenet`. Its validation images are what is reported on, and are enough: networks trained on ImageNet are
published. Where the training images are there too, a tenth of each class is held out, the same for every seed.
Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge" (2015); 6.3 GB of validation and 138 GB of
training images, given for non-commercial research and education to those who register.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from surgicalft.paths import data_dir as resolve_data_dir
from surgicalft.shifts.base import Labelled, Source, register_source, split_target
from surgicalft.shifts.catalogue import DataSet, register_data_set
from surgicalft.shifts.image_files import Change, Fit, ImageFiles, UnreadableImages, reason
from surgicalft.shifts.pixels import open_image

PLACES = ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
PAGE = "https://www.image-net.org/download.php"
CLASSES = 1000
IDS_SHA256 = (
    "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"  # one id a line, sorted
)
PER_CLASS = {"train": (732, 1300), "val": (50, 50)}  # fewest and most images
TOTAL = {"train": 1_281_167, "val": 50_000}
SUFFIX = ".JPEG"
FIT = Fit(224, resize=256)
VALID_FRACTION = 0.1
SHOWN = 5  # names in an error

Found = dict[str, list[Path]]  # WordNet id -> files


def imagenet_split(data_dir: Path | None, split: str) -> Path:
    """The folder of `split`, "train" or "val"; FileNotFoundError where ImageNet or that part of it is absent."""
    root = resolve_data_dir(data_dir)
    folder = next((root / p for p in PLACES if (root / p).is_dir()), None) if root else None
    if folder is not None and (folder / split).is_dir():
        return folder / split
    lacking = (
        f"{folder} has no {split}/"
        if folder
        else f"no {'/, '.join(PLACES)}/ in {root or 'any data folder'}"
    )
    raise FileNotFoundError(
        f"imagenet: {lacking}. ImageNet is given to those who register at {PAGE}; put it into the data folder "
        f"(data_dir or SURGICALFT_DATA) as {PLACES[0]}/{split}/<WordNet id>/*{SUFFIX}, one folder for each class"
    )


def class_ids(split: Path) -> list[str]:
    """The WordNet ids that have a folder there, sorted; ValueError unless they are ImageNet's thousand."""
    ids = sorted(
        e.name for e in os.scandir(split) if re.fullmatch(r"n\d{8}", e.name) and e.is_dir()
    )
    if len(ids) != CLASSES:
        raise ValueError(
            f"{split} has {len(ids)} class folders (named by WordNet id), expected {CLASSES}"
        )
    if hashlib.sha256("\n".join(ids).encode()).hexdigest() != IDS_SHA256:
        raise ValueError(f"the {CLASSES} class folders of {split} are not those of ILSVRC 2012")
    return ids


def find_images(split: Path, ids: Sequence[str], per_class: tuple[int, int]) -> Found:
    """The images of each WordNet id, by file name.

    Raises FileNotFoundError that names the ids without a folder, and ValueError that names those whose number
    of images is not from per_class[0] to per_class[1].
    """
    lacking = [i for i in ids if not (split / i).is_dir()]
    if lacking:
        raise FileNotFoundError(
            f"{split} lacks the folders of {len(lacking)} classes: {_some(lacking)}"
        )
    names = {i: sorted(n for n in os.listdir(split / i) if n.endswith(SUFFIX)) for i in ids}
    least, most = per_class
    wrong = [
        f"{i} has {len(found)}" for i, found in names.items() if not least <= len(found) <= most
    ]
    if wrong:
        expected = str(least) if least == most else f"{least} to {most}"
        raise ValueError(
            f"{split}: {len(wrong)} classes do not have {expected} {SUFFIX} images: {_some(wrong)}; "
            "the copy is incomplete or another data set"
        )
    return {i: [split / i / name for name in found] for i, found in names.items()}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def label(
    found: Found, classes: Sequence[Sequence[str]], fit: Fit = FIT, change: Change | None = None
) -> Labelled:
    """The images, unread, with label k for those of the WordNet ids in classes[k]; in that order."""
    files = [file for ids in classes for i in ids for file in found[i]]
    labels = [k for k, ids in enumerate(classes) for i in ids for _ in found[i]]
    return Labelled(ImageFiles(files, fit, change), torch.tensor(labels, dtype=torch.int64))


def label_all(split: Path, part: str, fit: Fit = FIT, change: Change | None = None) -> Labelled:
    """ImageNet's thousand classes in the folder `split`, which must hold as many images as its `part` does."""
    ids = class_ids(split)
    return label(find_images(split, ids, PER_CLASS[part]), [[i] for i in ids], fit, change)


def hold_out(train: Labelled, classes: int) -> tuple[Labelled, Labelled]:
    """(training, validation): a tenth, as many of each class and the same for every seed, is for validation."""
    valid = int(VALID_FRACTION * len(train)) // classes * classes
    parts = split_target(train, 0, valid, seed=0, classes=classes)
    return parts.test, parts.valid


def load_imagenet(data_dir: Path | None = None) -> Source:
    """The source `imagenet`; training and validation parts are empty where there is no train folder."""
    val = imagenet_split(data_dir, "val")
    test = label_all(val, "val")
    note = "imagenet: ILSVRC 2012, shorter side 256, centre 224"
    if not (val.parent / "train").is_dir():
        nothing = test.take(torch.arange(0))
        return Source(nothing, nothing, test, CLASSES, f"{note}; validation images alone")
    train = label_all(val.parent / "train", "train")
    return Source(*hold_out(train, CLASSES), test, CLASSES, note)


def check_headers(files: Sequence[Path], side: int | None = None) -> str:
    """Opens some of the images, without decoding them; ValueError where one is none, or not side x side."""
    some = list(files[:: max(1, len(files) // 50)])
    bad: dict[Path, str] = {}
    for file in some:
        try:
            with open_image(file) as image:
                size = image.size
        except Exception as error:  # a damaged file may make Pillow raise anything
            bad[file] = reason(error)
        else:
            if side and size != (side, side):
                bad[file] = f"{size[0]} x {size[1]} pixels, expected {side} x {side}"
    if bad:
        raise UnreadableImages(bad, len(some))
    return f"{len(some)} images opened" + (f", {side} x {side} pixels" if side else "")


def check(data_dir: Path | None = None) -> list[str]:
    """Classes, counts and some headers of the parts that are there."""
    val = imagenet_split(data_dir, "val")
    facts = []
    for split in ("val", "train"):
        folder = val.parent / split
        if not folder.is_dir():
            facts.append("no train/: enough to report on, not to train on")
            continue
        found = find_images(folder, class_ids(folder), PER_CLASS[split])
        files = [file for some in found.values() for file in some]
        if len(files) != TOTAL[split]:
            raise ValueError(f"{folder} has {len(files)} images, expected {TOTAL[split]}")
        opened = check_headers(files)
        facts.append(f"{split}: {len(found)} classes, {len(files)} images; {opened}")
    return facts


register_source("imagenet", load_imagenet)
register_data_set(
    DataSet(
        "imagenet",
        ("imagenet-c-generated",),
        "ImageNet's terms of access: non-commercial research and education",
        "6.3 GB (val), 138 GB (train)",
        f"Stanford and Princeton Universities, ILSVRC 2012; registration at {PAGE}",
        "imagenet/{train,val}/<WordNet id>/*.JPEG; val/ is enough for all but living-17 and entity-30",
        PLACES,
        check,
    )
)
