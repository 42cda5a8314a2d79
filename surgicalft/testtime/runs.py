"""One run of test-time adaptation as settings, and whether these make sense."""

from dataclasses import dataclass

from surgicalft.blocks import Blocks
from surgicalft.models.recipe import Pretrain
from surgicalft.models.zoo import PUBLISHED
from surgicalft.runs import source_blocks
from surgicalft.settings import check_choice, check_fields, later
from surgicalft.shifts import get_scenario
from surgicalft.testtime.augment import AugMix
from surgicalft.testtime.memo import Memo
from surgicalft.testtime.methods import METHODS, MODES, ONLINE


@dataclass(frozen=True)
class StreamRun:
    """Adapt `selection` of a source model to a scenario's images as they come, without labels, and predict each.

    `model` and `pretrain` are those of `surgicalft.runs.Run`. The images come in an order drawn by the seed, the same
    for every scenario of as many images; the first `skip` are left out (they are there to choose settings by), and of
    the others `n_images` are taken, all if 0.
    """

    scenario: str
    model: str
    selection: str  # "first_layer", "block 1", "last", "all", "none", ...
    learning_rate: float
    method: str = "memo"
    mode: str = "episodic"  # from the source model for each image, or "online": from where the last one left it
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    steps: int = 1
    augmentations: int = 32
    crop: str = "padded"
    flip: bool = True
    prior: int | None = (
        None  # images that BatchNorm's stored statistics count as, beside the batch; None: only stored
    )
    batch_size: int = 1  # images at once, for TENT
    reset: bool = False  # start again from the source model when collapsed
    skip: int = 0
    n_images: int = 0
    per_class: int = 0  # only the first so many of each class, in the scenario's order; 0: all
    without: str = ""  # a source, whose images (also as lossy copies) are left out
    seed: int = 0  # of the order and, apart from it, of the augmentations
    pretrain: Pretrain | None = None
    precision: str = later("float32")  # of the views' passes

    def __post_init__(self) -> None:
        least = {"steps": 1, "augmentations": 1, "batch_size": 1}
        check_fields(self, least, method=METHODS, mode=MODES)
        self.memo()  # checks what is MEMO's
        if self.method in ONLINE and self.mode != "online":
            raise ValueError(
                f"{self.method} goes along a stream: its mode is 'online', not {self.mode!r}"
            )
        if self.method == "tent" and self.precision != "float32":
            raise ValueError(
                f"tent draws no views; its precision is 'float32', not {self.precision!r}"
            )
        if self.pretrain and self.pretrain.model != self.model:
            raise ValueError(
                f"model is {self.model!r}, but pretrain trains {self.pretrain.model!r}"
            )

    def memo(self) -> Memo:
        """How one image is learned from."""
        return Memo(
            self.learning_rate,
            self.optimizer,
            self.weight_decay,
            self.steps,
            self.augmentations,
            AugMix(crop=self.crop, flip=self.flip),
            self.precision,
        )


def check(run: StreamRun) -> None:
    """ValueError, with the legal values, where a run names what does not exist or does not fit together."""
    source = get_scenario(run.scenario).source
    if run.pretrain is None:
        check_choice("model", run.model, sorted(PUBLISHED))
    elif run.pretrain.source != source:
        raise ValueError(
            f"scenario {run.scenario!r} departs from source {source!r}, but the model is trained on "
            f"{run.pretrain.source!r}"
        )
    blocks: Blocks = source_blocks(run.model, published=run.pretrain is None)
    blocks.select(run.selection)
