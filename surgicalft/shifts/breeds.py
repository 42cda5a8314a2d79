"""BREEDS out of an ImageNet folder: scenarios and sources `living-17` (17 classes) and `entity-30` (30).

A class is a superclass of ImageNet's, such as `bear`; the source shows some of its subclasses (sloth bear, American
black bear), the target others (ice bear, brown bear). Source: the training images of the source subclasses, a tenth
of them held out, the same for every seed; it is reported on their validation images. Target: the training images of
the target subclasses are tuned on and chosen by, their validation images reported on. The paper tunes on 50 a class.
Santurkar, Tsipras and Madry 2021; the lists: `breeds_classes`. Images, size, licence and layout: those of ImageNet.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from surgicalft.shifts.base import (
    Labelled,
    Scenario,
    Source,
    Target,
    register_scenario,
    register_source,
)
from surgicalft.shifts.breeds_classes import ENTITY_30, LIVING_17, Superclass
from surgicalft.shifts.catalogue import DataSet, register_data_set
from surgicalft.shifts.imagenet import (
    PAGE,
    PER_CLASS,
    PLACES,
    check_headers,
    find_images,
    hold_out,
    imagenet_split,
    label,
)

TASKS = {"living-17": LIVING_17, "entity-30": ENTITY_30}


def _part(data_dir: Path | None, split: str, classes: Sequence[tuple[str, ...]]) -> Labelled:
    """Images of the subclasses in `classes`, labelled by their place; errors as `find_images`."""
    ids = [i for some in classes for i in some]
    return label(find_images(imagenet_split(data_dir, split), ids, PER_CLASS[split]), classes)


def load_source(name: str, data_dir: Path | None = None) -> Source:
    """The source of the task; errors where ImageNet, a part of it, a class or an image of it is missing."""
    classes = [superclass.source for superclass in TASKS[name]]
    train, valid = hold_out(_part(data_dir, "train", classes), len(classes))
    test = _part(data_dir, "val", classes)
    return Source(train, valid, test, len(classes), f"{name}: ImageNet's images, source subclasses")


def load_target(name: str, data_dir: Path | None = None) -> Target:
    """The target of the task: training images to tune and choose by, validation images to report on."""
    classes = [superclass.target for superclass in TASKS[name]]
    pool, test = (_part(data_dir, split, classes) for split in ("train", "val"))
    provenance = f"{name}: ImageNet's images, target subclasses"
    return Target(pool, len(classes), provenance, test=test)


def _scenario(name: str) -> Scenario:
    return Scenario(name, "feature", name, partial(load_target, name))


def check(name: str, data_dir: Path | None = None) -> list[str]:
    """The folders of the task's subclasses, their counts and some headers."""
    facts = []
    ids = [i for superclass in TASKS[name] for i in (*superclass.source, *superclass.target)]
    for split in ("train", "val"):
        found = find_images(imagenet_split(data_dir, split), ids, PER_CLASS[split])
        opened = check_headers([files[0] for files in found.values()])
        count = sum(len(files) for files in found.values())
        facts.append(f"{split}: {len(ids)} subclasses, {count} images; {opened}")
    return facts


def _register(name: str, task: tuple[Superclass, ...]) -> None:
    subclasses = len(task) * (len(task[0].source) + len(task[0].target))
    register_source(name, partial(load_source, name))
    register_scenario(name, partial(_scenario, name))
    register_data_set(
        DataSet(
            name,
            (name,),
            "ImageNet's terms of access; the class lists are restated from BREEDS",
            "that of ImageNet",
            f"Santurkar, Tsipras and Madry, https://github.com/MadryLab/BREEDS-Benchmarks; images: {PAGE}",
            f"imagenet/{{train,val}}/<WordNet id>/*.JPEG, the {subclasses} subclasses at least",
            PLACES,
            partial(check, name),
        )
    )


for _name, _task in TASKS.items():
    _register(_name, _task)
