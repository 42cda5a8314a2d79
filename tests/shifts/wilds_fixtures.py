"""Small copies of wilds' data sets in their publishers' layouts, for the true wilds to read.

Each `write_...(root)` writes one under `root` and returns its folder. Image number r of a table (from 0) is of one
grey, `grey(r)`, so that it tells which one it is.
"""

import types
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

SPLITS = {"train": 0, "val": 1, "test": 2}
WATERBIRDS = {"train": (6, 2, 2, 5), "val": (4, 4, 3, 3), "test": (6, 6, 3, 3)}
CELEBA = {"train": (6, 5, 4, 2), "val": (4, 4, 3, 3), "test": (6, 5, 4, 3)}
CAMELYON17 = {"train": 24, "id_val": 12, "val": 6, "test": 20}
FMOW_SPLITS = {  # ours: the table's name of the split, and years of it
    "train": ("train", (2002, 2012)),
    "id_val": ("val", (2003, 2011)),
    "id_test": ("test", (2004, 2012)),
    "val": ("val", (2013, 2015)),
    "test": ("test", (2016, 2017)),
    "seq": ("seq", (2010, 2016)),  # kept back by the challenge: no part of wilds' splits
    "unused": ("train", (2014, 2017)),  # too late for the training split
}
FMOW_REGIONS = {"KEN": "Africa", "FRA": "Europe", "USA": "Americas", "JPN": "Asia"}


def grey(row):
    return 20 + 7 * row % 210


def write_image(path, row, side):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", side, (grey(row),) * 3).save(
        path, **({"quality": 95} if path.suffix == ".jpg" else {})
    )


def folder_of(root, name, version):
    folder = Path(root) / f"{name}_v{version}"
    folder.mkdir(parents=True)
    (folder / f"RELEASE_v{version}.txt").write_text(f"{version}\n")
    return folder


def grouped_rows(counts):
    """(split, label, attribute) of each image, groups in turn as in a shuffled table."""
    rows = []
    for split, sizes in counts.items():
        left = list(sizes)
        while any(left):
            for group in range(4):
                if left[group]:
                    left[group] -= 1
                    rows.append((split, group // 2, group % 2))
    return rows


def write_waterbirds(root, counts=WATERBIRDS):
    """Images of several sizes, as in the publisher's."""
    folder = folder_of(root, "waterbirds", "1.0")
    table = []
    for row, (split, label, place) in enumerate(grouped_rows(counts)):
        name = f"{label + 1:03}.Bird/Bird_{row:04}.jpg"
        write_image(folder / name, row, (40 + row % 3, 30))
        scene = f"/o/ocean/{row:08}.jpg" if place else f"/b/bamboo_forest/{row:08}.jpg"
        table.append((row + 1, name, label, SPLITS[split], place, scene))
    columns = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    pd.DataFrame(table, columns=columns).to_csv(folder / "metadata.csv", index=False)
    return folder


def write_celeba(root, counts=CELEBA):
    """All 40 columns of attributes, -1 or 1."""
    folder = folder_of(root, "celebA", "1.0")
    rows = grouped_rows(counts)
    names = [f"{row + 1:06}.jpg" for row in range(len(rows))]
    for row, name in enumerate(names):
        write_image(folder / "img_align_celeba" / name, row, (178, 218))
    write_celeba_tables(
        folder,
        names,
        blond=np.array([label for _, label, _ in rows]),
        male=np.array([attribute for *_, attribute in rows]),
        partition=np.array([SPLITS[split] for split, *_ in rows]),
    )
    return folder


def write_celeba_tables(folder, names, blond, male, partition):
    others = {f"Attribute_{k}": np.where(np.arange(len(names)) % (k + 2), 1, -1) for k in range(38)}
    columns = {"image_id": names, "Blond_Hair": 2 * blond - 1, **others, "Male": 2 * male - 1}
    pd.DataFrame(columns).to_csv(folder / "list_attr_celeba.csv", index=False)
    pd.DataFrame({"image_id": names, "partition": partition}).to_csv(
        folder / "list_eval_partition.csv", index=False
    )


def write_camelyon17(root, counts=CAMELYON17):
    """Classes in turn. The table's own splits are two, 0 and 1: wilds gives hospitals 1 and 2 theirs."""
    folder = folder_of(root, "camelyon17", "1.0")
    hospitals = {
        "train": cycle([0, 3, 4]),
        "id_val": cycle([4, 0, 3]),
        "val": cycle([1]),
        "test": cycle([2]),
    }
    table = []
    for split, count in counts.items():
        for i in range(count):
            row, hospital = len(table), next(hospitals[split])
            patient, node, slide = f"{4 + 20 * hospital:03}", hospital % 5, 10 * hospital
            table.append(
                (patient, node, 3328 + row, 21792, i % 2, slide, hospital, int(split == "id_val"))
            )
            stem = f"patient_{patient}_node_{node}"
            name = f"patches/{stem}/patch_{stem}_x_{3328 + row}_y_21792.png"
            write_image(folder / name, row, (96, 96))
    columns = ["patient", "node", "x_coord", "y_coord", "tumor", "slide", "center", "split"]
    pd.DataFrame(table, columns=columns).to_csv(folder / "metadata.csv")
    return folder


def fmow_rows(categories):
    """(table's split, category, country, timestamp); Africa has every other class of the test split, at most."""
    rows = []
    for split, years in FMOW_SPLITS.values():
        for k, category in enumerate(categories):
            year = years[k % 2]
            fraction = ".643" if k % 5 == 1 else ""
            country = ("KEN", "FRA", "KEN", "USA", "JPN", "ATA")[k % 6]
            rows.append((split, category, country, f"{year}-02-0{1 + k % 9}T02:48:56{fraction}Z"))
    return rows


def write_fmow(root, categories=None):
    """All 62 classes once in each split, timestamps with and without fractions, rows of no split between them."""
    from surgicalft.compat import import_wilds

    import_wilds()
    from wilds.datasets.fmow_dataset import categories as all_categories

    folder = folder_of(root, "fmow", "1.1")
    rows = fmow_rows(categories or all_categories)
    rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    for row, (split, *_) in enumerate(rows):
        if split != "seq":
            write_image(folder / "images" / f"rgb_img_{row}.png", row, (224, 224))
    columns = ["split", "category", "country_code", "timestamp"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "rgb_metadata.csv", index=False)
    write_regions(folder)
    return folder


def write_regions(folder):
    table = {"alpha-3": list(FMOW_REGIONS), "region": list(FMOW_REGIONS.values())}
    pd.DataFrame(table).to_csv(folder / "country_code_mapping.csv", index=False)


def scatter_without_extension():
    """A `torch_scatter` that is enough for wilds' `eval`: means of `src` by `index`, 0 where there is none."""

    def scatter(src, index, dim_size, reduce):
        assert reduce == "mean"
        sizes = torch.bincount(index, minlength=dim_size).clamp(min=1)
        return torch.zeros(dim_size, dtype=src.dtype).index_add(0, index, src) / sizes

    module = types.ModuleType("torch_scatter")
    module.scatter = scatter
    return module
