"""A small network of every module of timm, of torchvision's families, of open_clip and our own, on small images.

In double precision, so that what differs is no rounding, if the network can be computed so.
"""

import warnings
from collections.abc import Callable
from functools import cache

import timm
import torch
import torchvision
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.models.networks import build
from surgicalft.models.normalized import CLIP, Normalized
from surgicalft.models.rvt import RVT

CLASSES = 4
LARGEST = 50e6  # parameters
SIDES = (64, 96, 128, 160, 224)
TORCHVISION = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_0",
    "swin_t", "vgg11_bn", "vit_b_32",
)  # fmt: skip
OURS = (
    "resnet8-bn-w8",
    "resnet8-gn-w8",
    "clip-vit-tiny",
    "clip-vit-tiny-grouped",
    "rvt",
    "open_clip/RN50",
)


@cache
def timm_names() -> dict[str, list[str]]:
    """Module of timm -> its networks, the smallest first, by their sizes on the meta device."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in timm.list_models():
        module = timm.model_entrypoint(name).__module__.rpartition(".")[2]
        found.setdefault(module, []).append((_guess(name), name))
    return {module: [name for _, name in sorted(names)] for module, names in sorted(found.items())}


SMALL = "atto femto pico nano test xx tiny _t mini small _s xs 18 26 b0 lite0 _0 050 002 x0_5 12"
LARGE = "large huge giant base _b_ _l_ 152 101 200 xl 384 448 512"


def _guess(name: str) -> int:
    """Small ones by their names, without building a thousand networks."""
    return (
        10 * any(w in name for w in LARGE.split())
        - sum(w in name for w in SMALL.split())
        + len(name) // 12
    )


def cases() -> list[str]:
    """Names for `network`."""
    return [
        *(f"timm/{module}" for module in timm_names()),
        *(f"torchvision/{n}" for n in TORCHVISION),
        *OURS,
    ]


def network(case: str) -> tuple[nn.Module, int]:
    """The network, and the side of its images. LookupError, with the reasons, for a module of which none builds."""
    source, _, name = case.partition("/")
    if source == "timm":
        return _first_that_works([(n, _timm(n)) for n in timm_names()[name][:8]])
    if source == "torchvision":
        return _first_that_works([(name, _torchvision(name))])
    if source == "open_clip":
        return _first_that_works([(name, lambda side: _open_clip(name))])
    if source == "rvt":
        name = source
        return _first_that_works([(name, _rvt)])
    return _first_that_works([(source, lambda side: build(source, CLASSES, seed=0))])


SHRUNK = (
    {},
    {"embed_dim": 48, "depth": 3, "num_heads": 3},
    {"embed_dims": (16, 32, 48, 64), "depths": (1, 1, 1, 1)},
    {"embed_dim": (16, 32, 48, 64), "depths": (1, 1, 1, 1)},
    {"dims": (16, 32, 48, 64), "depths": (1, 1, 1, 1)},
)


def _rvt(side: int) -> nn.Module:
    return Normalized(RVT(CLASSES, size=48, width=32, depth=4, heads=2, scaled=2), *CLIP, 48)


def _timm(name: str) -> Callable[[int], nn.Module]:
    """The network as it is, or the same architecture made smaller, with images of that side if it can say so."""

    def make(side: int) -> nn.Module:
        for more in SHRUNK:
            for size in ({"img_size": side}, {}):
                kwargs = {"num_classes": CLASSES, **size, **more}
                if _size(name, kwargs) <= LARGEST:
                    return timm.create_model(name, **kwargs)
        raise TooLarge(name)

    return make


def _size(name: str, kwargs) -> float:
    """Its parameters; infinite where it can't be built."""
    for device in ("meta", "cpu"):
        if device == "cpu" and len(kwargs) < 3 and _guess(name) >= 0:
            break  # some read values while they are built, which takes long if they are large
        try:
            with torch.device(device):
                return sum(p.numel() for p in timm.create_model(name, **kwargs).parameters())
        except Exception:
            continue
    return float("inf")


class TooLarge(ValueError):
    """Whatever the side of its images."""


def _torchvision(name: str) -> Callable[[int], nn.Module]:
    def make(side: int) -> nn.Module:
        more = (
            {"aux_logits": False, "init_weights": False}
            if name in ("googlenet", "inception_v3")
            else {}
        )
        more |= {"image_size": side} if name.startswith("vit") else {}
        more |= {"input_size": (side, side)} if name.startswith("maxvit") else {}
        model: nn.Module = torchvision.models.get_model(
            name, weights=None, num_classes=CLASSES, **more
        )
        return model

    return make


def _open_clip(name: str) -> nn.Module:
    import open_clip

    tower = open_clip.create_model("RN50", pretrained=None).visual
    tower.attnpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, CLASSES))
    return PatternedTower(tower)


class PatternedTower(nn.Module):
    """CLIP's ResNet with a classifier."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x):
        return self.tower(x)

    def block_patterns(self):
        stages = {f"block {i}": rf"tower\.layer{i}\." for i in range(1, 5)}
        return {"stem": r"tower\.(conv|bn)\d\.", **stages, "last": r"tower\.attnpool\."}


def _first_that_works(makers) -> tuple[nn.Module, int]:
    reasons = []
    for name, make in makers:
        for side in SIDES:
            try:
                return _built(make, side), side
            except TooLarge as error:
                reasons.append(f"{error} is too large")
                break
            except Exception as error:  # too small a side, no such size, too large, no classes
                reasons.append(f"{name} at {side}: {type(error).__name__}: {error}"[:120])
    raise LookupError("; ".join(reasons[-4:]))


def _built(make: Callable[[int], nn.Module], side: int) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(side)
    example = torch.rand(2, 3, side, side)
    try:
        model.double()
        _passes(model, example.double())
    except (RuntimeError, TypeError):
        model.float()
        _passes(model, example)
    Blocks.of(model)
    return model


def _passes(model: nn.Module, example: torch.Tensor) -> None:
    """In both modes; statistics become those of images."""
    with torch.no_grad():
        model.train()
        for _ in range(3):
            model(example + 0.1 * torch.rand_like(example))
        outputs = model.eval()(example)
    if outputs.shape != (2, CLASSES) or not outputs.isfinite().all():
        raise ValueError(
            f"outputs {tuple(outputs.shape)}, finite: {bool(outputs.isfinite().all())}"
        )


def selections(model: nn.Module) -> list[str]:
    """An early block, a later one, and the last."""
    names = list(Blocks.of(model))
    return list(dict.fromkeys([names[len(names) // 3], names[2 * len(names) // 3], names[-1]]))
