"""Studies of methods: Tables 4 and 6, and what goes beyond them.

A row of such a table is an option (`surgicalft.report.options`): the runs among which validation chooses. Those of
surgical fine-tuning are a study's own; the other options' runs are made here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from surgicalft.methods import METHODS
from surgicalft.profiles import Profile, get_profile
from surgicalft.report.options import BLOCK, OPTIONS, Option
from surgicalft.runs import LORA, Run
from surgicalft.searches import SEARCHES
from surgicalft.settings import check_choice
from surgicalft.studies import Study

# The paper gives neither: these are ours, and validation chooses.
STRENGTHS: dict[str, tuple[float, ...]] = {"L1 Regularize": (1e-3, 1e-4), "Auto-SNR": (0.1, 0.3)}
_SHORT = ("All", "Auto-RGN", "Halving")
ENTRIES: dict[str, tuple[Option, ...]] = {
    "short": tuple(o for o in OPTIONS if o.kind == "bound" or o.label in _SHORT),
    "paper": tuple(o for o in OPTIONS if o.kind in ("bound", "paper")),  # the rows of Table 4
    "main": tuple(o for o in OPTIONS if o.kind in ("bound", "paper") or o.label == "Halving"),
    "candidates": tuple(
        o for o in OPTIONS if o.kind in ("bound", "candidate") or o.label in _SHORT
    ),
    "all": tuple(o for o in OPTIONS if o.method in (*METHODS, *SEARCHES, LORA)),
}
# Greedy costs more than all the others together: on networks of size, leave it out.
ENTRIES["criteria"] = tuple(o for o in ENTRIES["candidates"] if o.label != "Greedy")


@dataclass(frozen=True)
class MethodStudy:
    """On which scenarios methods are compared, from which source model, with how many images.

    `design` names the scenarios on which what is ours was thought out; the others are held out.
    """

    profile: Profile
    scenarios: tuple[str, ...]
    design: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1)

    def runs(self, entries: str = "paper", seeds: Sequence[int] = (), model: str = "") -> list[Run]:
        """Of all scenarios and seeds: surgical runs, then the options'; ValueError for entries that do not exist."""
        check_choice("entries", entries, list(ENTRIES))
        found: list[Run] = []
        for seed in seeds or self.seeds:
            for scenario in self.scenarios:
                study = self._study(scenario, model)
                found += study.runs((seed,))
                for option in ENTRIES[entries]:
                    found += _option_runs(study, option, seed)
        return list(dict.fromkeys(found))

    def _study(self, scenario: str, model: str) -> Study:
        study = self.profile.study(scenario)
        if not model or model == study.base.model:
            return study
        return replace(study, base=replace(study.base, model=model, pretrain=None))


def _option_runs(study: Study, option: Option, seed: int) -> Iterator[Run]:
    if option.selection in ("none", BLOCK):
        return  # among the study's own
    what: dict[str, Any] = {"selection": option.selection, "method": option.method, "seed": seed}
    if option.method in SEARCHES:
        rates, last_rates = study.learning_rates, study.last_learning_rates
        yield replace(study.base, **what, rates=rates, last_rates=last_rates)
        return
    for strength in STRENGTHS.get(option.label, (None,)):
        for rate in study.rates(option.selection):
            base = replace(study.base, **what, variant=option.variant, strength=strength)
            yield replace(base, learning_rate=rate)


_EMBEDDED = get_profile("embedded")
# A fifth of the paper's images, where methods differ most, its own test split of 900, and two of its three rates:
# validation chose the third, 1e-5, for no selection that it chose at all.
_CIFAR = replace(
    get_profile("cifar"),
    n_tune=200,
    test="authors",
    learning_rates=(1e-3, 1e-4),
    last_learning_rates=(1e-1, 1e-2),
)

METHOD_STUDIES = {
    "embedded": MethodStudy(
        _EMBEDDED,
        ("glyphs-c/spatter", "glyphs-case", "glyphs-flip"),
        design=("glyphs-c/spatter", "glyphs-flip"),
    ),
    "cifar": MethodStudy(_CIFAR, get_profile("cifar").scenarios),
    "paper": MethodStudy(
        get_profile("paper"),
        (
            *get_profile("paper").scenarios,
            *("living-17", "entity-30", "waterbirds", "celeba"),
        ),
        seeds=(0, 1, 2),
    ),
}


def get_method_study(profile: str) -> MethodStudy:
    """The study of that profile; ValueError with the legal names where there is none."""
    check_choice("profile", profile, list(METHOD_STUDIES))
    return METHOD_STUDIES[profile]
