"""Targets that do not differ from their source: the shift, where there is one, is planted in the network.

`glyphs-clean`, and `S-clean` for every copy S of CIFAR-10: the pool of that source's other scenarios, unchanged.
Section 3.3 of the paper tunes on the test images of CIFAR-10 after noise in one block: see
`surgicalft.shifts.parameter_noise`.
"""

from functools import partial
from pathlib import Path

from surgicalft.shifts import cifar, glyphs
from surgicalft.shifts.base import Scenario, Target, register_scenario
from surgicalft.shifts.cifar_copies import COPIES

KIND = "none"


def _glyphs() -> Scenario:
    def load(data_dir: Path | None) -> Target:
        return Target(glyphs.glyphs("target", glyphs.POOL), glyphs.CLASSES, "embedded")

    return Scenario("glyphs-clean", KIND, "glyphs", load)


def _cifar(name: str) -> Scenario:
    def load(data_dir: Path | None) -> Target:
        test = cifar.load_cifar(name, data_dir)["test"]
        note = f"{name} test images ({COPIES[name].note}), unchanged"
        return Target(test, len(cifar.CLASSES), note)

    return Scenario(f"{name}-clean", KIND, name, load)


register_scenario("glyphs-clean", _glyphs)
for _name in COPIES:
    register_scenario(f"{_name}-clean", partial(_cifar, _name))
