"""Camelyon17 and FMoW of WILDS (Koh et al. 2021): hospitals, and years and regions, that the source lacks.

Camelyon17 (Bandi et al. 2018): tumour or not, in patches of 96 x 96 pixels. Source: wilds' training split of three
hospitals; its `id_val`, of the same hospitals, is halved, the same for every seed, to validate and to test on.
Target: wilds' test split, hospital 2 of 0 to 4; 50 of each class are tuned on and 50 validated on.

FMoW (Christie et al. 2018): 62 kinds of land use, in satellite images before 2013. Source: wilds' splits `train`,
`id_val` and `id_test`. Target: the African images of its test split, of 2016 and 2017: 2,593, of which one of each
class is tuned on; classes are of very different size there. (The paper counts 520,000 source images, which are all
the images of FMoW.)

Camelyon17: 10.7 GB, CC0 1.0, `camelyon17_v1.0/`. FMoW: 53.9 GB, FMoW Challenge Public License, `fmow_v1.1/`. What lies
in the folders: the catalogue's entries below.
"""

from functools import partial
from pathlib import Path

import torch

from surgicalft.seeds import generator
from surgicalft.shifts.base import Scenario, Source, Target, register_scenario, register_source
from surgicalft.shifts.image_files import Fit
from surgicalft.shifts.wilds_check import register_wilds
from surgicalft.shifts.wilds_files import BUNDLES, WildsData, open_wilds

PAGE = "https://wilds.stanford.edu/datasets"
REGION = "Africa"

CAMELYON17 = WildsData(
    name="camelyon17",
    wilds="camelyon17",
    version="1.0",
    address=f"{BUNDLES}/0xe45e15f39fb54e9d9e919556af67aabe/contents/blob/",
    size="10.7 GB",
    classes=2,
    fit=Fit(96),
    tables={
        "metadata.csv": (
            "patient", "node", "x_coord", "y_coord", "tumor", "slide", "center", "split",
        )
    },
    images="patches",
    files=lambda known: known._input_array,
    counts={"train": (302436,), "id_val": (33560,), "val": (34904,), "test": (85054,)},
    side=(96, 96),
)  # fmt: skip
FMOW = WildsData(
    name="fmow",
    wilds="fmow",
    version="1.1",
    address=f"{BUNDLES}/0xaec91eb7c9d548ebb15e1b5e60f966ab/contents/blob/",
    size="53.9 GB",
    classes=62,
    fit=Fit(224),
    tables={
        "rgb_metadata.csv": ("split", "category", "country_code", "timestamp"),
        "country_code_mapping.csv": ("alpha-3", "region"),
    },
    images="images",
    files=lambda known: [f"images/rgb_img_{row}.png" for row in known.full_idxs],
    counts={
        "train": (76863,),
        "id_val": (11483,),
        "id_test": (11327,),
        "val": (19915,),
        "test": (22108,),
    },
    side=(224, 224),
)


def load_camelyon17_source(data: WildsData = CAMELYON17, data_dir: Path | None = None) -> Source:
    """`train` and the halves of `id_val`; raises as `open_wilds`."""
    opened = open_wilds(data, data_dir)
    held_out = opened.part("id_val")
    order = torch.randperm(len(held_out), generator=generator("camelyon17", "id_val"))
    valid, test = (held_out.take(half.sort().values) for half in order.chunk(2))
    return Source(opened.part("train"), valid, test, data.classes, opened.provenance)


def load_camelyon17_target(data: WildsData = CAMELYON17, data_dir: Path | None = None) -> Target:
    """The hospital of the test split; raises as `open_wilds`."""
    opened = open_wilds(data, data_dir)
    return Target(opened.part("test"), data.classes, f"{opened.provenance}; hospital 2")


def load_fmow_source(data: WildsData = FMOW, data_dir: Path | None = None) -> Source:
    """The splits of the years before 2013; raises as `open_wilds`."""
    opened = open_wilds(data, data_dir)
    train, valid, test = (opened.part(split) for split in ("train", "id_val", "id_test"))
    return Source(train, valid, test, data.classes, opened.provenance)


def load_fmow_target(data: WildsData = FMOW, data_dir: Path | None = None) -> Target:
    """The region of the test split; raises as `open_wilds`, and ValueError where it has no such image."""
    opened = open_wilds(data, data_dir)
    regions = list(opened.known.metadata_map["region"])  # in the order of the table's rows
    if REGION not in regions:
        raise ValueError(f"{opened.folder}: no image is in {REGION!r}; regions: {regions}")
    pool = opened.part("test", opened.field("region") == regions.index(REGION))
    if not len(pool):
        raise ValueError(f"{opened.folder}: no image of the test split is in {REGION!r}")
    note = f"{opened.provenance}; {len(pool):,} images of the test split, {REGION}"
    return Target(pool, data.classes, note, sparse=True)


def _camelyon17() -> Scenario:
    return Scenario(
        "camelyon17", "natural", "camelyon17", partial(load_camelyon17_target, CAMELYON17)
    )


def _fmow() -> Scenario:
    return Scenario("fmow", "natural", "fmow", partial(load_fmow_target, FMOW))


register_source("camelyon17", partial(load_camelyon17_source, CAMELYON17))
register_source("fmow", partial(load_fmow_source, FMOW))
register_scenario("camelyon17", _camelyon17)
register_scenario("fmow", _fmow)
register_wilds(
    CAMELYON17,
    "CC0 1.0",
    f"Bandi et al. (2018), as patches in WILDS, {PAGE}/#camelyon17",
    "metadata.csv, patches/patient_<p>_node_<n>/patch_patient_<p>_node_<n>_x_<x>_y_<y>.png",
)
register_wilds(
    FMOW,
    "FMoW Challenge Public License",
    f"Christie et al. (2018), resized in WILDS, {PAGE}/#fmow",
    "rgb_metadata.csv, country_code_mapping.csv, images/rgb_img_<row>.png",
)
