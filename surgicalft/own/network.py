"""A user's network as it is tuned: a copy that takes images in [0, 1], and its blocks."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from surgicalft.blocks import Blocks, Selection
from surgicalft.evaluate import ImageForm, to_float
from surgicalft.given_network import check_type, copy_network, unwrap
from surgicalft.models.normalized import IMAGENET, Normalized
from surgicalft.models.torchvision_blocks import family_of
from surgicalft.seeds import derive_seed
from surgicalft.watch import Watch

Scale = tuple[Sequence[float], Sequence[float]]  # mean and std of each channel, of images in [0, 1]


@dataclass(frozen=True)
class OwnNetwork:
    """`module` scales images in [0, 1] and calls a copy of the user's network, whose blocks are `blocks`.

    `outputs` counts its logits; `random` says that it draws random numbers in training mode, as dropout does;
    `new_head` that its last block was made anew.
    """

    name: str
    module: Normalized
    blocks: Blocks
    scale: Scale
    outputs: int
    random: bool
    new_head: bool

    def select(self, name: str) -> Selection:
        """The selection of that name; its tensors are named as in `module`."""
        found = self.blocks.select(name)
        inner = (tuple(f"network.{n}" for n in names) for names in (found.parameters, found.front))
        parameters, front = inner
        return replace(found, parameters=parameters, front=front)

    def size(self, name: str) -> int:
        """The number of scalars in a selection."""
        plain = self.module.network
        return sum(plain.get_parameter(n).numel() for n in self.blocks.select(name).parameters)

    def fingerprint(self) -> str:
        """Names modules, weights, scale and blocks: no run of another network is taken for one of this.

        A forward that differs while all of these are the same is not noticed.
        """
        printed = re.sub(
            r" at 0x[0-9a-f]+", "", repr(self.module)
        )  # addresses differ between processes
        digest = hashlib.sha256(f"{printed} {self.scale} {self.blocks.blocks}".encode())
        for name, value in self.module.state_dict().items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def prepare(
    model: nn.Module,
    images: Tensor,
    normalize: Scale | None = None,
    size: int | None = None,
    patterns: Mapping[str, str] | None = None,
    classes: int | None = None,
    device: str = "cpu",
) -> OwnNetwork:
    """A copy of `model`, tried on `images`, two of the data's (2, c, h, w) uint8.

    normalize: (mean, std) of images in [0, 1]; by default those of timm's `pretrained_cfg`, ImageNet's for
    torchvision's classifiers, and none for others. size: images are resized to it. patterns: see `Blocks.of`. classes:
    the last block is replaced by a new one with so many outputs, drawn from a seed of its own.

    Networks in torch.compile or DataParallel are taken out of these. Raises ValueError for what is no network or has
    no parameters, has weights of 16 bits or is in DistributedDataParallel, for one whose blocks are not known or that
    has no last layer to replace, and where it does not take such images or does not give one row of logits for each.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    model, _ = unwrap(model)
    check_type(model)
    plain = copy_network(model).cpu().eval()
    blocks = Blocks.of(plain, patterns)
    if classes is not None:
        _replace_head(plain, blocks, classes)
        blocks = Blocks.of(plain, patterns)
    _check_copy(model, plain, images)
    scale = _scale(model, normalize, images.shape[1])
    module = Normalized(plain, *scale, size).eval()
    outputs, random = _try(module, images)
    name = str(_timm_config(model).get("architecture") or type(model).__name__)
    return OwnNetwork(name, module.to(device), blocks, scale, outputs, random, classes is not None)


@torch.no_grad()
def _check_copy(model: nn.Module, plain: nn.Module, images: Tensor) -> None:
    """ValueError if the copy computes with tensors of `model`, as a function that holds `self` does."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())} - {0}
    before = [buffer.clone() for buffer in model.buffers()]
    watch = Watch(len(images))
    try:
        with watch:
            plain(to_float(images, form=ImageForm.of(plain)))
    except Exception:
        return  # what does not take the images is told elsewhere
    finally:
        for buffer, value in zip(model.buffers(), before, strict=True):
            if not torch.equal(buffer, value):
                buffer.copy_(value)
    if watch.seen & own:
        raise ValueError(
            f"a copy of {type(model).__name__} computes with tensors of the network itself, so that it cannot be tuned "
            "apart: does it keep a function that holds `self`, such as a lambda?"
        )


def usual_size(model: nn.Module) -> int | None:
    """The side of the images that timm's published weights expect; None for other networks."""
    size = _timm_config(model).get("input_size")
    return int(size[-1]) if size else None


def _timm_config(model: nn.Module) -> dict[str, Any]:
    return getattr(model, "pretrained_cfg", None) or {}


def _scale(model: nn.Module, given: Scale | None, channels: int) -> Scale:
    """Mean and std, checked."""
    config, identity = _timm_config(model), ((0.0,) * channels, (1.0,) * channels)
    usual: Scale = IMAGENET if family_of(model) else identity
    if "mean" in config and "std" in config:
        own = [_for_channels(config[name], channels) for name in ("mean", "std")]
        usual = own[0], own[1]
    try:
        mean, std = usual if given is None else given
    except (TypeError, ValueError) as error:
        raise ValueError(f"normalize must be (mean, std), two lists, not {given!r}") from error
    if not (len(mean) == len(std) == channels) or min(std) <= 0:
        raise ValueError(
            f"normalize must be {channels} means and {channels} positive deviations, one for each channel of the "
            f"images, not {tuple(mean)} and {tuple(std)}"
        )
    if not all(-1 <= m <= 2 for m in mean) or max(std) > 2:
        raise ValueError(
            f"normalize must be of images in [0, 1], not of bytes: {tuple(mean)} and {tuple(std)}; divide both by 255"
        )
    return tuple(map(float, mean)), tuple(map(float, std))


def _for_channels(values: Sequence[float], channels: int) -> Sequence[float]:
    """As timm adapts them: for other than three channels their mean in each."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _replace_head(network: nn.Module, blocks: Blocks, classes: int) -> None:
    """A new last layer, the same for the same architecture and number of classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("head", type(network).__name__, classes))
        if hasattr(network, "reset_classifier"):  # timm's
            cast(Any, network).reset_classifier(classes)
            return
        last = blocks.names[-1]
        owners = {name.rpartition(".")[0] for name in blocks.parameters(last)}
        layer = network.get_submodule(owners.pop()) if len(owners) == 1 else None
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"new_head replaces a last block that is one nn.Linear, but {last!r} holds "
                f"{list(blocks.parameters(last))}: give the network with a new last layer"
            )
        path = next(name for name, module in network.named_modules() if module is layer)
        parent, _, leaf = path.rpartition(".")
        new = nn.Linear(layer.in_features, classes, bias=layer.bias is not None)
        setattr(network.get_submodule(parent), leaf, new)


@torch.no_grad()
def _try(module: Normalized, images: Tensor) -> tuple[int, bool]:
    """The number of outputs, and whether a pass in training mode draws random numbers."""
    outputs = _logits(module, images)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        _logits(copy_network(module).train(), images)  # a copy: statistics may change
        return outputs.shape[1], not torch.equal(before, torch.get_rng_state())


def _logits(module: nn.Module, images: Tensor) -> Tensor:
    """(n, classes), checked."""
    name, mode = type(module.network).__name__, " in training mode" if module.training else ""
    try:
        outputs = module(to_float(images, form=ImageForm.of(module)))
    except Exception as error:  # whatever the user's own forward raises
        raise ValueError(
            f"{name} does not take images of shape {tuple(images.shape[1:])}{mode}: {type(error).__name__}: {error} "
            "(the argument `size` resizes them)"
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(images):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"{name} must give logits of shape (n, classes), but for {len(images)} images it gives {got}{mode}"
        )
    if not outputs.isfinite().all():
        raise ValueError(f"{name} gives outputs that are NaN or infinite{mode}")
    return outputs
