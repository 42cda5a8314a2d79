"""Waterbirds and CelebA: the label goes with an attribute in the source, and not in the target.

Waterbirds: birds (CUB-200-2011) pasted onto backgrounds (Places); 95% of the training split's landbirds are on land
and 95% of its waterbirds on water. CelebA: blond or not; of the training split's blond people 6% are male. Both as
Sagawa et al. (2020) made them, whose images are fitted here as in their code, without augmentation.

Waterbirds: 0.5 GB, for non-commercial research and education, `waterbirds_v1.0/`. CelebA: Liu et al. (2015), 1.3 GB,
for non-commercial research, `celebA_v1.0/`. What lies in the folders: the catalogue's entries below.

Source: the official splits. Target: to tune and validate on, the official validation split, of which
`split_target` takes equal numbers of each of the four groups 2 * label + attribute (the paper: 100 to tune on);
to report on, the largest balanced subset of the official test split, the same for every seed.
"""

from functools import partial
from pathlib import Path

from surgicalft.compat import check_celeba_tables
from surgicalft.shifts.base import Scenario, Source, Target, register_scenario, register_source
from surgicalft.shifts.groups import GROUPS, balanced
from surgicalft.shifts.image_files import Fit
from surgicalft.shifts.wilds_check import register_wilds
from surgicalft.shifts.wilds_files import BUNDLES, WildsData, open_wilds

WATERBIRDS = WildsData(
    name="waterbirds",
    wilds="waterbirds",
    version="1.0",
    address=f"{BUNDLES}/0x505056d5cdea4e4eaa0e242cbfe2daa4/contents/blob/",
    size="0.5 GB",
    classes=2,
    fit=Fit(224, resize=256, squash=True),
    tables={"metadata.csv": ("img_filename", "y", "split", "place")},
    images="",
    files=lambda known: known._input_array,
    counts={
        "train": (3498, 184, 56, 1057),
        "val": (467, 466, 133, 133),
        "test": (2255, 2255, 642, 642),
    },
    attribute="background",
)
CELEBA = WildsData(
    name="celeba",
    wilds="celebA",
    version="1.0",
    address=f"{BUNDLES}/0xfe55077f5cd541f985ebf9ec50473293/contents/blob/",
    size="1.3 GB",
    classes=2,
    fit=Fit(224, before=178),
    tables={
        "list_attr_celeba.csv": ("image_id", "Blond_Hair", "Male"),
        "list_eval_partition.csv": ("image_id", "partition"),
    },
    images="img_align_celeba",
    files=lambda known: [f"img_align_celeba/{name}" for name in known._input_array],
    counts={
        "train": (71629, 66874, 22880, 1387),
        "val": (8535, 8276, 2874, 182),
        "test": (9767, 7535, 2480, 180),
    },
    attribute="male",
    side=(178, 218),
    check_tables=check_celeba_tables,
)


def load_source(data: WildsData, data_dir: Path | None = None) -> Source:
    """The official splits; raises as `open_wilds`."""
    opened = open_wilds(data, data_dir)
    train, valid, test = (opened.part(split) for split in ("train", "val", "test"))
    return Source(train, valid, test, data.classes, opened.provenance)


def load_target(data: WildsData, data_dir: Path | None = None) -> Target:
    """The validation split, and the balanced subset of the test split; raises as `open_wilds` and `balanced`."""
    opened = open_wilds(data, data_dir)
    test = balanced(opened.part("test"), count=len(GROUPS[data.name]))
    note = f"{opened.provenance}; tuned on the validation split, tested on the test split balanced by group"
    return Target(opened.part("val"), data.classes, note, test)


def _register(data: WildsData, licence: str, publisher: str, layout: str) -> None:
    scenario = Scenario(data.name, "output", data.name, partial(load_target, data))
    register_source(data.name, partial(load_source, data))
    register_scenario(data.name, lambda: scenario)
    register_wilds(data, licence, publisher, layout)


_register(
    WATERBIRDS,
    "non-commercial research and education",
    "Sagawa et al. (2020), https://github.com/kohpangwei/group_DRO#waterbirds",
    "metadata.csv, <bird>/<image>.jpg",
)
_register(
    CELEBA,
    "non-commercial research",
    "Liu et al. (2015), http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    "list_attr_celeba.csv, list_eval_partition.csv, img_align_celeba/<image>.jpg",
)
