"""Which number of the paper belongs beside a run of ours, by the run's settings.

The values of Figure 2 are known where a table repeats them: section 4.2 says that Cross-Val of Table 4
"corresponds in performance to the best surgical fine-tuning result"; which block that is, is known from the text of
section 2.1 for corruptions (the first) and for changed labels and spurious correlations (the last).
"""

import re
from collections.abc import Mapping
from typing import Any

from surgicalft.report.paper import Published, published

# Scenario, model, column of Table 4, the block behind Cross-Val.
_FIGURE_2 = (
    (r"cifar10[\w-]*-c/\*(/5)?", ".*", "CIFAR-C", "block 1"),
    (r"cifar10[\w-]*-flip", ".*", "CIFAR-F", "last"),
    (r"imagenet-c[\w-]*/\*(/5)?", "resnet50.*", "IN-C", "block 1"),
    ("living-17", "resnet50", "Living-17", None),
    ("entity-30", "resnet50", "Entity-30", None),
    ("waterbirds", "resnet50", "Waterbirds", "last"),
    ("celeba", "resnet50", "CelebA", "last"),
)
_FIGURE_2_ROWS = {"none": "No Adaptation", "all": "All"}
# Images to tune on in A.3; of CIFAR-Flip it does not say: taken as those of CIFAR-C.
_IMAGES = {
    **{"CIFAR-C": 1000, "CIFAR-F": 1000, "IN-C": 5000, "Living-17": 850, "Entity-30": 1500},
    **{"Waterbirds": 400, "CelebA": 400, "Camelyon17": 100, "FMoW": 62},
}
_TABLE_8_COLUMNS = {"camelyon17": "Camelyon17", "fmow": "FMoW"}
_TABLE_8_MODELS = {"clip-vit-b-16": "B/16", "clip-vit-l-14": "L/14", "clip-vit-l-14-336": "L/14"}
_TABLE_8_ROWS = {
    "none": "No fine-tuning",
    "all": "All",
    "embedding": "Embedding",
    "first_three": "First three",
    "last_three": "Last three",
    "last": "Last layer",
}
_TABLE_7 = {
    "first layers": "First Layers",
    **{f"block {i}": f"Block {i}" for i in range(1, 5)},
    **{"last": "Last", "all": "All", "none": "No Tuning"},
}


def beside(settings: Mapping[str, Any]) -> Published | None:
    """The paper's accuracy for a run of these settings, or None where it gives none.

    A mean over corruptions, `cifar10-c/*`, has a value (over the paper's), one corruption alone has none. Tuning on
    another number of images than the paper's has none either.
    """
    if settings.get("method", "surgical") != "surgical":
        return None
    return _figure_2(settings) or _table_7(settings) or _table_8(settings)


def _figure_2(settings: Mapping[str, Any]) -> Published | None:
    scenario, model, selection = (settings[name] for name in ("scenario", "model", "selection"))
    for pattern, network, column, best in _FIGURE_2:
        if re.fullmatch(pattern, scenario) and re.fullmatch(network, model):
            row = "Cross-Val" if selection == best else _FIGURE_2_ROWS.get(selection)
            return published(4, row, column) if row and _as_many(settings, column) else None
    return None


def _table_7(settings: Mapping[str, Any]) -> Published | None:
    if (settings["scenario"], settings["model"]) != ("living-17", "clip-vit-b-16-grouped"):
        return None
    column = _TABLE_7.get(settings["selection"])
    return published(7, "Living-17", column) if column and _as_many(settings, "Living-17") else None


def _table_8(settings: Mapping[str, Any]) -> Published | None:
    data, model = (
        _TABLE_8_COLUMNS.get(settings["scenario"]),
        _TABLE_8_MODELS.get(settings["model"]),
    )
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}.get(settings.get("optimizer", "adam"))
    row = _TABLE_8_ROWS.get(settings["selection"])
    if not (data and model and optimizer and row and _as_many(settings, data)):
        return None
    try:
        return published(8, row, f"{data} {model} {optimizer}")
    except ValueError:  # a column that the table does not have, such as L/14 with SGD
        return None


def _as_many(settings: Mapping[str, Any], column: str) -> bool:
    """Whether as many images are tuned on as in the paper; without tuning it does not matter."""
    return settings["selection"] == "none" or settings["n_tune"] == _IMAGES[column]
