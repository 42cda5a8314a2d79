"""What notebook 10 takes for its user's own: a network, and images that depart from those it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from surgicalft.models.zoo import load_network
from surgicalft.profiles import get_profile
from surgicalft.shifts import Labelled, get_scenario, split_target
from surgicalft.shifts.image_files import as_tensor

Arrays = tuple[np.ndarray, np.ndarray]  # uint8 (n, 3, h, w), int64 (n,)

# Profile -> scenario, published network or "" for the profile's own, images to tune on. All are shifts of the inputs.
SHOWN = {
    "embedded": ("glyphs-c/spatter", "", 200),
    "cifar": ("cifar10-jpeg-c/contrast", "memo-resnet26-gn", 200),
    "paper": ("cifar10-c/contrast", "robustbench-standard", 1000),
}


@dataclass(frozen=True)
class Example:
    """`options` are the arguments of `which_block` that suit it."""

    name: str
    model: nn.Module
    train: Arrays
    valid: Arrays
    test: Arrays
    options: dict[str, Any]


def load_example(profile: str, data_dir: Path | None = None, progress: bool = True) -> Example:
    """Of that profile; its source model is trained on first use. 100 images to choose by, up to 2,700 to report on."""
    budget = get_profile(profile)
    scenario, published, n_tune = SHOWN[profile]
    network = published or budget.model
    pretrain = None if published else budget.pretrain
    model = load_network(network, pretrain, data_dir, progress=progress)
    target = get_scenario(scenario).load(data_dir)
    rule = "authors" if budget.evidence else "rest"
    splits = split_target(target.pool, n_tune, 100, 0, rule, target.classes)
    options = {
        "rates": budget.learning_rates,
        "last_rates": budget.last_learning_rates,
        "epochs": budget.epochs,
        "batch_size": 32,  # 64 would leave 200 images four steps an epoch
    }
    name = scenario if budget.evidence else f"{scenario} (embedded data: a demonstration)"
    train, valid, test = map(_arrays, (splits.tune, splits.valid, splits.test))
    return Example(name, model, train, valid, test, options)


def _arrays(part: Labelled) -> Arrays:
    return as_tensor(part.images).numpy(), part.labels.numpy()
