"""Test-time adaptation: learning from unlabelled target images as they come, with chosen tensors frozen."""

from surgicalft.testtime.augmix import AugMix
from surgicalft.testtime.batch_prior import use_prior
from surgicalft.testtime.episodic import Episodic
from surgicalft.testtime.executor import StreamExecutor
from surgicalft.testtime.gala import Gala
from surgicalft.testtime.memo import Memo
from surgicalft.testtime.online import Online
from surgicalft.testtime.runs import StreamRun
from surgicalft.testtime.tent import Tent

__all__ = [
    "AugMix",
    "Episodic",
    "Gala",
    "Memo",
    "Online",
    "StreamExecutor",
    "StreamRun",
    "Tent",
    "use_prior",
]
