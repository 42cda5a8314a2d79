"""How a source model is trained, as settings."""

from dataclasses import dataclass

from surgicalft.models.augmentation import AUGMENTATIONS
from surgicalft.optimizers import OPTIMIZERS, SCHEDULES
from surgicalft.precision import PRECISIONS
from surgicalft.settings import check_fields, check_number, later


@dataclass(frozen=True)
class Phase:
    """A stretch of training: what learns, for how many epochs, at which (peak) learning rate."""

    selection: str
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Pretrain:
    """What is learned on the source, and how. `learning_rate` is the largest that the schedule takes.

    With `head_epochs` the classifier alone learns first, and everything in the epochs that are left: LP-FT
    (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution").
    """

    source: str
    model: str = "resnet26-bn"
    epochs: int = 20  # in all
    batch_size: int = 128
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: str = "crop-flip"  # letters must not be mirrored: "crop" there
    precision: str = "float32"  # "bfloat16" autocasts: faster where the processor has it
    seed: int = 0
    weights: str = later("random")  # what training starts from, see surgicalft.models.weights
    optimizer: str = later("sgd")  # with Nesterov's momentum
    schedule: str = later("one-cycle")
    head_epochs: int = later(0)
    head_learning_rate: float = later(0.0)  # 0: as learning_rate

    def __post_init__(self) -> None:
        check_fields(
            self,
            {"epochs": 1, "batch_size": 1},
            augment=AUGMENTATIONS,
            precision=PRECISIONS,
            optimizer=OPTIMIZERS,
            schedule=SCHEDULES,
        )
        check_number("momentum", self.momentum, 0, 1)
        if not 0 <= self.head_epochs <= self.epochs:
            raise ValueError(f"head_epochs must be 0 to {self.epochs}, not {self.head_epochs}")

    def phases(self) -> list[Phase]:
        """The classifier's epochs, if any, then everything's."""
        head = self.head_learning_rate or self.learning_rate
        phases = [
            Phase("last", self.head_epochs, head),
            Phase("all", self.epochs - self.head_epochs, self.learning_rate),
        ]
        return [phase for phase in phases if phase.epochs]
