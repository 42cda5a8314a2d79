"""Studies of shifts planted in one block (sections 3.3 and 4.3): Figures 5 and 6, and Table 5.

Each block of a source model is damaged in turn until a stated accuracy is left, and what repairs it on target images
like the source's is compared: every block, all, and Auto-RGN. The noise of a run is drawn from the run's seed. The
paper gives neither scale nor level nor the number of target images: these are ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from surgicalft.method_studies import get_method_study
from surgicalft.models.recipe import Pretrain
from surgicalft.runs import Run
from surgicalft.settings import check_choice
from surgicalft.shifts.parameter_noise import Planted
from surgicalft.studies import Study

DAMAGED = ("block 1", "block 2", "block 3", "last")
AUTO = "auto-rgn"


@dataclass(frozen=True)
class PlantedStudy:
    """`study`: what is tuned, at which rates; `level`: the accuracy (%) that noise leaves, on source images.

    `models` names published networks that are damaged besides that of the study; `variants` are Auto-RGN's.
    """

    study: Study
    level: float
    models: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1)
    variants: tuple[str, ...] = ("", "code")

    def runs(self, seeds: Sequence[int] = (), where: str = "parameters", **more: Any) -> list[Run]:
        """For every model and seed: the network undamaged, then damaged in each block.

        Of each: no tuning, every selection (not of the undamaged), and Auto-RGN on all. `where` the damage is planted:
        "parameters" or "activations". `more` replaces settings of every run.
        """
        return [
            run
            for study in self._studies(more)
            for seed in seeds or self.seeds
            for planted in (None, *(Planted(b, self.level, where, seed) for b in DAMAGED))
            for run in self._case(study, seed, planted)
        ]

    def _studies(self, more: dict[str, Any]) -> Iterator[Study]:
        study = replace(self.study, base=replace(self.study.base, **more))
        yield study
        for model in self.models:
            yield replace(study, base=replace(study.base, model=model, pretrain=None))

    def _case(self, study: Study, seed: int, planted: Planted | None) -> Iterator[Run]:
        surgical = replace(study, selections=study.selections if planted else ())
        yield from surgical.runs((seed,), planted=planted)
        base = replace(study.base, selection="all", method=AUTO, seed=seed, planted=planted)
        for variant in self.variants:
            for rate in study.learning_rates:
                yield replace(base, learning_rate=rate, variant=variant)


def _study(profile: str, scenario: str, **more: Any) -> Study:
    study = get_method_study(profile).profile.study(scenario)
    return replace(study, base=replace(study.base, **more))


# A minute's worth of runs: no third rate, fewer epochs, 900 test images.
_EMBEDDED = replace(
    _study("embedded", "glyphs-clean", epochs=6, test="authors"),
    learning_rates=(1e-2, 3e-3),
    last_learning_rates=(1e-1, 1e-2),
)
_RESNET26 = Pretrain("cifar10", "resnet26-bn")

PLANTED_STUDIES = {
    "embedded": PlantedStudy(_EMBEDDED, level=50.0, variants=("",)),
    "cifar": PlantedStudy(
        _study("cifar", "cifar10-jpeg-clean"),
        level=50.0,
        models=("memo-resnet26-gn",),
        variants=("",),
    ),
    "paper": PlantedStudy(
        _study("paper", "cifar10-clean", model=_RESNET26.model, pretrain=_RESNET26),
        level=50.0,
        seeds=(0, 1, 2),
    ),
}


def get_planted_study(profile: str) -> PlantedStudy:
    """The study of that profile; ValueError with the legal names where there is none."""
    check_choice("profile", profile, list(PLANTED_STUDIES))
    return PLANTED_STUDIES[profile]
