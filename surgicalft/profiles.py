"""Profiles: how much of an experiment is run, on which data.

`embedded` needs nothing but this package and demonstrates; `cifar` and `paper` need real images and are
evidence. A profile's numbers are defaults that a notebook's parameters replace.
"""

from dataclasses import dataclass, replace

from surgicalft.models.recipe import Pretrain
from surgicalft.protocols import CIFAR_SELECTIONS, STUDIES
from surgicalft.report.paper import CIFAR_C_CORRUPTIONS
from surgicalft.runs import Run
from surgicalft.settings import check_choice
from surgicalft.shifts import get_scenario
from surgicalft.studies import Study


@dataclass(frozen=True)
class Profile:
    """A budget: which targets, which source model, how many images, epochs, rates and seeds."""

    name: str
    evidence: bool  # real data, not the embedded stand-in
    scenarios: tuple[str, ...]
    model: str
    pretrain: Pretrain | None  # None: `model` is a published checkpoint
    n_tune: int
    n_valid: int
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]
    last_learning_rates: tuple[float, ...]  # the last layer alone bears and needs larger ones
    seeds: tuple[int, ...]
    image_counts: tuple[int, ...]  # of Figure 4
    count_scenario: str
    test: str = "rest"  # of the target images, see surgicalft.shifts.split_target

    def study(self, scenario: str) -> Study:
        """What this profile tunes on a scenario: the paper's recipe where that names another network."""
        protocol = STUDIES.get(scenario.split("/")[0])
        if protocol is not None:
            return protocol(scenario)
        pretrain = self.pretrain and replace(self.pretrain, source=get_scenario(scenario).source)
        base = Run(
            scenario,
            self.model,
            "none",
            0.0,
            n_tune=self.n_tune,
            n_valid=self.n_valid,
            epochs=self.epochs,
            batch_size=self.batch_size,
            test=self.test,
            pretrain=pretrain,
        )
        return Study(base, CIFAR_SELECTIONS, self.learning_rates, self.last_learning_rates)


PAPER_RATES, PAPER_LAST_RATES = (1e-3, 1e-4, 1e-5), (1e-1, 1e-2, 1e-3)  # appendix A.4

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "embedded",
            evidence=False,
            scenarios=(
                "glyphs-c/spatter",
                "glyphs-c/gaussian_noise",
                "glyphs-case",
                "glyphs-flip",
                "glyphs-background",
                "glyphs-ink",
            ),
            model="resnet8-bn-w8",
            pretrain=Pretrain("glyphs", "resnet8-bn-w8", epochs=7, batch_size=64, augment="none"),
            n_tune=200,
            n_valid=100,
            epochs=15,
            batch_size=32,  # 64 would leave 200 images four steps an epoch
            learning_rates=(1e-2, 3e-3, 1e-3),
            last_learning_rates=(1e-1, 1e-2, 1e-3),
            seeds=(0, 1),
            image_counts=(20, 50, 100, 200),
            count_scenario="glyphs-c/spatter",
        ),
        Profile(
            "cifar",
            evidence=True,
            scenarios=(
                "cifar10-jpeg-c/gaussian_noise",
                "cifar10-jpeg-c/defocus_blur",
                "cifar10-jpeg-c/contrast",
                "cifar10-jpeg-c/pixelate",
                "cifar10-jpeg-flip",
            ),
            model="resnet26-bn",
            pretrain=Pretrain("cifar10-jpeg", "resnet26-bn", epochs=16, precision="bfloat16"),
            n_tune=1000,
            n_valid=100,
            epochs=15,
            batch_size=64,
            learning_rates=PAPER_RATES,
            last_learning_rates=PAPER_LAST_RATES,
            seeds=(0, 1),
            image_counts=(100, 200, 500, 1000),
            count_scenario="cifar10-jpeg-c/gaussian_noise",
        ),
        Profile(
            "paper",
            evidence=True,
            scenarios=(*(f"cifar10-c/{name}" for name in CIFAR_C_CORRUPTIONS), "cifar10-flip"),
            model="robustbench-standard",
            pretrain=None,
            n_tune=1000,
            n_valid=100,
            epochs=15,
            batch_size=64,
            learning_rates=PAPER_RATES,
            last_learning_rates=PAPER_LAST_RATES,
            seeds=(0, 1, 2),
            image_counts=(100, 200, 500, 1000, 2000),
            count_scenario="cifar10-c/gaussian_noise",
        ),
    )
}


# Figure 1: a scenario or two of each kind of shift.
EXAMPLES = {
    "embedded": PROFILES["embedded"].scenarios,
    "cifar": ("cifar10-jpeg-c/gaussian_noise", "cifar10-jpeg-c/contrast", "cifar10-jpeg-flip"),
    "paper": (
        *("cifar10-c/gaussian_noise", "imagenet-c/fog", "living-17", "entity-30"),
        *("cifar10-flip", "waterbirds", "celeba", "camelyon17", "fmow"),
    ),
}


def get_profile(name: str) -> Profile:
    """The profile of that name; ValueError with the legal names where there is none."""
    check_choice("profile", name, list(PROFILES))
    return PROFILES[name]


def which_block_runs(
    profile: Profile, scenarios: tuple[str, ...] = (), seeds: tuple[int, ...] = (), **more: int
) -> list[Run]:
    """Figure 2: every selection, rate and seed on every scenario, and the network as it was ("none")."""
    studies = map(profile.study, scenarios or profile.scenarios)
    return [run for study in studies for run in study.runs(seeds or profile.seeds, **more)]


def image_count_runs(
    profile: Profile, scenario: str = "", seeds: tuple[int, ...] = (), **more: int
) -> list[Run]:
    """Figure 4, left: the same on one scenario, for each number of images to tune on."""
    chosen = (scenario or profile.count_scenario,)
    return [
        run
        for count in profile.image_counts
        for run in which_block_runs(profile, chosen, seeds, **{**more, "n_tune": count})
    ]
