"""Names -> trained networks: published checkpoints, and source models of our own training."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from surgicalft.compat import import_robustbench
from surgicalft.models.checkpoints import load_weights, read_checkpoint
from surgicalft.models.networks import build
from surgicalft.models.pretrain import pretrained
from surgicalft.models.recipe import Pretrain
from surgicalft.models.resnet_cifar import ResNetCifar
from surgicalft.models.weights import initial_network
from surgicalft.paths import cache_dir
from surgicalft.paths import data_dir as resolve_data_dir

WIDE_RESNET_PATTERNS = {
    "block 1": r"conv1\.|block1\.",
    "block 2": r"block2\.",
    "block 3": r"block3\.|bn1\.",
    "last": r"fc\.",
}


@dataclass(frozen=True)
class Published:
    """A checkpoint by its publisher: the file's names under the data folder, and where it comes from."""

    files: tuple[str, ...]
    page: str
    key: str | None
    build: Callable[[], nn.Module]
    download: Callable[[], Path] | None = None

    def find(self, data_dir: Path | None) -> Path:
        """The local file, else the publisher's; FileNotFoundError says what was looked for, and where."""
        root = resolve_data_dir(data_dir)
        for file in self.files:
            if root and (root / file).is_file():
                return root / file
        if self.download is None:
            raise FileNotFoundError(
                f"looked for {' or '.join(self.files)} in {root or 'no data folder'}; get it from "
                f"{self.page} and set data_dir or SURGICALFT_DATA to the folder that holds it"
            )
        return self.download()

    def untrained(self) -> nn.Module:
        """The network alone."""
        return self.build()

    def load(self, data_dir: Path | None) -> nn.Module:
        """The network with the file's weights."""
        path = self.find(data_dir)
        weights = read_checkpoint(path, self.key)
        network = self.build()
        load_weights(network, weights, path)
        return network


@dataclass(frozen=True)
class Known:
    """A network of `surgicalft.models.networks` with weights of `surgicalft.models.weights`, unchanged."""

    model: str
    weights: str
    classes: int

    def untrained(self) -> nn.Module:
        """The network alone."""
        return build(self.model, self.classes, 0)

    def load(self, data_dir: Path | None) -> nn.Module:
        """The network with these weights, its classifier included."""
        return initial_network(self.model, self.weights, self.classes, 0, data_dir)


def _standard() -> nn.Module:
    """RobustBench's `Standard` for CIFAR-10: WideResNet-28-10, 36,479,194 parameters, input in [0, 1]."""
    import_robustbench()
    from robustbench.model_zoo.architectures.wide_resnet import WideResNet

    network = WideResNet(depth=28, widen_factor=10)
    network.block_patterns = partial(dict, WIDE_RESNET_PATTERNS)  # declared as our own networks do
    return network


def _download_standard() -> Path:
    """Through robustbench's own loader, which keeps the file in its layout under our cache."""
    import_robustbench()
    from robustbench.utils import load_model

    root = cache_dir("robustbench")
    file = root / "cifar10" / "corruptions" / "Standard.pt"
    if file.is_file():
        return file
    try:
        load_model("Standard", model_dir=str(root), dataset="cifar10", threat_model="corruptions")
    except Exception as error:  # whatever gdown or requests raise without a network
        raise FileNotFoundError(
            f"robustbench-standard: Standard.pt could not be downloaded ({error}); get it from "
            "https://robustbench.github.io and put it at cifar10/corruptions/Standard.pt in the "
            f"data folder, or at {file}"
        ) from error
    return file


PUBLISHED: dict[str, Published | Known] = {
    "memo-resnet26-gn": Published(
        ("memo-cifar10-rn26-gn.pth",),
        "https://github.com/zhangmarvin/memo",
        "net",
        partial(ResNetCifar, 26, norm="group"),
    ),
    "robustbench-standard": Published(
        ("cifar10/corruptions/Standard.pt", "Standard.pt"),
        "https://robustbench.github.io",
        None,
        _standard,
        _download_standard,
    ),
    # torchvision's first version is also RobustBench's "Standard" for ImageNet.
    "resnet50-imagenet": Known("resnet50", "imagenet-v1", 1000),
    "rvt-small-imagenet": Known("rvt-small", "imagenet", 1000),
}


def load_published(name: str, data_dir: Path | None = None) -> nn.Module:
    """A published network with its weights, in eval mode; its input is in [0, 1].

    Raises ValueError for an unknown name, FileNotFoundError or CheckpointError for its file.
    """
    if name not in PUBLISHED:
        raise ValueError(f"unknown published model {name!r}; legal: {', '.join(sorted(PUBLISHED))}")
    return PUBLISHED[name].load(data_dir).eval()


def load_network(
    model: str,
    pretrain: Pretrain | None,
    data_dir: Path | None = None,
    device: str = "cpu",
    progress: bool = True,
    unreadable: str = "raise",
) -> nn.Module:
    """The network a run starts from: published under `model`, or trained as `pretrain` says.

    `model` may group the blocks of the network that `pretrain` trains: the weights are the same.
    """
    if pretrain is None:
        return load_published(model, data_dir).to(device)
    trained = pretrained(pretrain, data_dir, device, progress, unreadable)
    network = trained.network
    if model != pretrain.model:
        network = build(model, trained.info["classes"], 0).to(device)
        network.load_state_dict(trained.network.state_dict())
    return network.eval()
