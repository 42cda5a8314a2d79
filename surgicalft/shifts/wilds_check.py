"""Whether a copy of a data set that wilds reads is the published one; its entry in the catalogue."""

import os
from functools import partial
from pathlib import Path

import torch

from surgicalft.shifts.catalogue import DataSet, register_data_set
from surgicalft.shifts.pixels import open_image
from surgicalft.shifts.wilds_files import Opened, WildsData, open_wilds

FIRST = 3  # images of each split that a check looks into
SHOWN = 5  # missing files that an error names


def register_wilds(data: WildsData, licence: str, publisher: str, layout: str) -> None:
    """Adds the data set to the catalogue; `layout` is what lies in its folder, but for the release file."""
    register_data_set(
        DataSet(
            name=data.name,
            scenarios=(data.name,),
            licence=licence,
            size=data.size,
            publisher=publisher,
            layout=f"{data.folder}/: {layout}, {data.needed[0]} (may be empty)",
            places=(data.folder,),
            check=partial(check_wilds, data),
        )
    )


def check_wilds(data: WildsData, data_dir: Path | None = None) -> list[str]:
    """Compares a copy with the published data set: images per split and group, every file there, shapes.

    Returns what it verified, a fact a line. Raises as `open_wilds`, and where one of these differs.
    """
    opened = open_wilds(data, data_dir)
    if differing := opened.differing():
        by = " and group" if data.attribute else ""
        raise ValueError(f"{opened.folder}: images per split{by} differ: {'; '.join(differing)}")
    counts = [
        f"{k}: {', '.join(f'{n:,}' for n in whole)} images" for k, whole in data.counts.items()
    ]
    return [*counts, _check_files(opened), _check_shapes(opened)]


def _check_files(opened: Opened) -> str:
    """Lists each folder once instead of asking for each file."""
    rows = torch.cat([opened.rows(split) for split in opened.data.counts])
    files = [opened.files[row] for row in rows.tolist()]
    folders = {folder: opened.folder / folder for folder in map(os.path.dirname, files)}
    there = {
        f"{folder}/{name}"
        for folder, place in folders.items()
        if place.is_dir()
        for name in os.listdir(place)
    }
    missing = [file for file in files if file not in there]
    if missing:
        raise FileNotFoundError(
            f"{opened.folder}: {len(missing):,} of {len(files):,} image files are missing: "
            f"{', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}"
        )
    return f"{len(files):,} image files are there"


def _check_shapes(opened: Opened) -> str:
    side = opened.data.side
    for split in opened.data.counts:
        images = opened.images(opened.rows(split)[:FIRST])
        images[:]  # unreadable ones raise
        for file in images.files:
            with open_image(file) as image:
                if side and image.size != side:
                    raise ValueError(f"{file} is of {image.size} pixels, not {side}")
    what = f"{side[0]} x {side[1]} pixels" if side else "readable"
    return f"the first {FIRST} images of each split are {what}"
