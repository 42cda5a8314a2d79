"""ResNet-50 with the blocks of the paper."""

from functools import partial

from torch import nn

PATTERNS = {
    "block 1": r"(conv1|bn1|layer1)\.",
    "block 2": r"layer2\.",
    "block 3": r"layer3\.",
    "block 4": r"layer4\.",
    "last": r"fc\.",
}


def resnet50(classes: int) -> nn.Module:
    """timm's, untrained: normalised images (n, 3, h, w) -> logits (n, classes); torchvision's parameter names.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2015), with the stride in the 3x3
    convolution. 25,557,032 parameters for 1000 classes. The stem goes with the first of the four stages.
    """
    import timm  # here: it takes seconds to import

    network: nn.Module = timm.create_model("resnet50", num_classes=classes)
    network.block_patterns = partial(dict, PATTERNS)  # type: ignore[assignment]  # as our own networks declare them
    return network
