"""Studies of vision transformers: Tables 1 and 8 (natural shifts) and Table 7 (a shift of features).

`paper` is the paper's own: CLIP on Camelyon17, FMoW and Living-17. `embedded` stands in for it with a small transformer
on glyphs; `cifar` is evidence from the same small transformer on real images, for the shifts that these allow.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from surgicalft.models.recipe import Pretrain
from surgicalft.protocols import GROUPED_SELECTIONS, VIT_SELECTIONS, breeds, natural
from surgicalft.runs import Run
from surgicalft.settings import check_choice
from surgicalft.studies import Study

# Small transformers on few images learn late: without augmentation and after a warm-up.
_GLYPHS = Pretrain(
    "glyphs",
    "clip-vit-tiny",
    epochs=12,
    batch_size=64,
    learning_rate=1e-3,
    weight_decay=0.01,
    augment="none",
    optimizer="adamw",
)
_CIFAR = replace(_GLYPHS, source="cifar10-jpeg", epochs=30, augment="crop-flip")
_RATES = {"sgd": (1e-2, 3e-3), "adamw": (3e-3, 1e-3)}


def _small(scenario: str, pretrain: Pretrain, optimizer: str, grouped: bool = False) -> Study:
    base = Run(
        scenario,
        f"{pretrain.model}-grouped" if grouped else pretrain.model,
        "none",
        0.0,
        n_tune=200,
        n_valid=100,
        epochs=10,
        batch_size=32,
        weight_decay=0.0,
        pretrain=pretrain,
        optimizer=optimizer,
        schedule="cosine",
    )
    selections = GROUPED_SELECTIONS if grouped else VIT_SELECTIONS
    return Study(base, selections, _RATES[optimizer])


NATURAL = {  # Tables 1 and 8
    "embedded": tuple(_small("glyphs-ink", _GLYPHS, o) for o in ("sgd", "adamw")),
    "paper": (
        natural("camelyon17"),
        natural("camelyon17", optimizer="adamw"),
        natural("fmow"),
        natural("fmow", optimizer="adamw"),
        natural("fmow", "clip-vit-l-14-336", "adamw"),
    ),
}
FEATURES = {  # Table 7
    "embedded": (_small("glyphs-case", _GLYPHS, "adamw", grouped=True),),
    "cifar": tuple(
        _small(name, _CIFAR, "adamw", grouped=True)
        for name in (
            "cifar10-jpeg-c/gaussian_noise",
            "cifar10-jpeg-c/contrast",
            "cifar10-jpeg-flip",
        )
    ),
    "paper": (breeds("living-17", "clip-vit-b-16-grouped", "openai"),),
}


def study_runs(studies: Sequence[Study], seeds: Sequence[int], **more: Any) -> list[Run]:
    """The runs of all studies, one after the other; `more` replaces settings of each."""
    return [run for study in studies for run in study.runs(seeds, **more)]


def get_studies(table: dict[str, tuple[Study, ...]], profile: str) -> tuple[Study, ...]:
    """The studies of that profile; ValueError with the legal names where there are none."""
    check_choice("profile", profile, list(table))
    return table[profile]
