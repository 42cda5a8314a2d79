"""What the paper's studies cost to rerun: image passes, from them hours, and disk.

`python -m surgicalft.report.cost` writes the table to figures/throughput/, from the throughput measured there. Hours
on a CPU follow from its images per second; hours on a GPU from floating-point operations and an assumed `TERAFLOPS`.
An upper bound: every step of tuning is taken for one of the whole network.
"""

from dataclasses import dataclass
from functools import cache

import pandas as pd

from surgicalft.models.networks import ungrouped
from surgicalft.paths import project_dir
from surgicalft.protocols import STUDIES, breeds
from surgicalft.report.paper import IMAGENET_C_CORRUPTIONS, RUNS
from surgicalft.report.tables import read_table, write_table
from surgicalft.report.throughput import gigaflops
from surgicalft.shifts.catalogue import get_data_set
from surgicalft.shifts.imagenet import CLASSES
from surgicalft.shifts.spurious import CELEBA, WATERBIRDS
from surgicalft.shifts.wilds import CAMELYON17, FMOW
from surgicalft.shifts.wilds_files import WildsData
from surgicalft.studies import Study
from surgicalft.transformer_studies import NATURAL

TERAFLOPS = 50.0  # sustained by one GPU in bfloat16: an assumption
BACKWARD = 2  # forward passes that a backward pass costs
IMAGENET_TRAIN = 1300  # images of a class, at most
AFRICA = 2593  # images of FMoW's target
# Published networks by the architecture that was measured; at 336 pixels each image has (336 / 224)^2 times the tokens.
MEASURED = {"resnet50-imagenet": ("resnet50", 1.0), "clip-vit-l-14-336": ("clip-vit-l-14", 2.25)}


@dataclass(frozen=True)
class Images:
    """How many the source trains and validates on, and the target reports on; bytes of one when decoded."""

    train: int
    valid: int
    test: int
    side: int = 224

    @property
    def gigabytes(self) -> float:
        """Of the decoded copies."""
        return (self.train + self.valid + self.test) * 3 * self.side**2 / 1e9


def _count(data: WildsData, split: str) -> int:
    return sum(data.counts[split])


IMAGES = {
    "imagenet-c": Images(0, 0, 50 * CLASSES),
    "living-17": Images(17 * 2 * IMAGENET_TRAIN, 0, 17 * 2 * 50),
    "entity-30": Images(30 * 4 * IMAGENET_TRAIN, 0, 30 * 4 * 50),
    "waterbirds": Images(_count(WATERBIRDS, "train"), _count(WATERBIRDS, "val"), 4 * 642),
    "celeba": Images(_count(CELEBA, "train"), _count(CELEBA, "val"), 4 * 180),
    "camelyon17": Images(
        _count(CAMELYON17, "train"),
        _count(CAMELYON17, "id_val") // 2,
        _count(CAMELYON17, "test"),
        side=96,
    ),
    "fmow": Images(_count(FMOW, "train"), _count(FMOW, "id_val"), AFRICA),
}


@dataclass(frozen=True)
class Passes:
    """Images that go forward only, and images that are learned from (forward and backward)."""

    forward: float
    training: float

    @property
    def forward_equivalents(self) -> float:
        return self.forward + (1 + BACKWARD) * self.training


def passes(study: Study, images: Images, seeds: int = RUNS) -> Passes:
    """Of a study: its source model once, its runs for every seed."""
    runs = list(study.runs(range(seeds)))
    forward = sum(run.epochs * run.n_valid + images.test for run in runs)
    training = sum(run.epochs * run.n_tune for run in runs)
    source = study.base.pretrain
    if source is not None:
        forward += source.head_epochs * images.train + source.epochs * images.valid
        training += (source.epochs - source.head_epochs) * images.train
    return Passes(forward, training)


def studies() -> list[tuple[Study, int]]:
    """The paper's studies beyond CIFAR-10, and how many times each is done (once per corruption)."""
    fixed = [(STUDIES["imagenet-c"]("imagenet-c/fog"), len(IMAGENET_C_CORRUPTIONS))]
    fixed += [(STUDIES[n](n), 1) for n in ("living-17", "entity-30", "waterbirds", "celeba")]
    fixed += [(breeds("living-17", "clip-vit-b-16-grouped", "openai"), 1)]
    return fixed + [(study, 1) for study in NATURAL["paper"]]


def cost_table(throughput: pd.DataFrame) -> pd.DataFrame:
    """One row per study: million forward-equivalents, PFLOP, hours, gigabytes to download and decoded."""
    return pd.DataFrame([_row(study, times, throughput) for study, times in studies()])


def _row(study: Study, times: int, throughput: pd.DataFrame) -> dict[str, object]:
    family = study.base.scenario.split("/")[0]
    work = passes(study, IMAGES[family])
    name = ungrouped(study.base.model)
    architecture, factor = MEASURED.get(name, (name, 1.0))
    rows = throughput[throughput["model"] == architecture].set_index("tuned")
    flops = times * work.forward_equivalents * _gigaflops(architecture) * factor * 1e9
    rates = {name: rows.loc[name, "images/s"] / factor for name in ("forward only", "all")}
    seconds = times * (work.forward / rates["forward only"] + work.training / rates["all"])
    return {
        "scenario": family if times == 1 else f"{family} x {times}",
        "model": study.base.model,
        "optimizer": study.base.optimizer,
        "million forward-equivalents": round(times * work.forward_equivalents / 1e6, 2),
        "PFLOP": round(flops / 1e15),
        "CPU hours": round(seconds / 3600),
        "GPU hours": round(flops / TERAFLOPS / 1e12 / 3600, 1),
        "download": get_data_set(family).size,
        "decoded (GB)": round(times * IMAGES[family].gigabytes, 1),
    }


@cache
def _gigaflops(model: str) -> float:
    return gigaflops(model, 224)


def main() -> None:
    """Write the table beside the throughput that it was made from."""
    folder = project_dir("figures", "throughput")
    about = {
        "seeds": RUNS,
        "GPU hours": f"at an assumed {TERAFLOPS:g} TFLOP/s; not measured",
        "CPU hours": "from figures/throughput/cpu.csv",
    }
    table = cost_table(read_table(folder / "cpu"))
    write_table(table, folder / "cost", about)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
