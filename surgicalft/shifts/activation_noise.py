"""A shift planted in the activations behind one block: each channel gets a gain and an offset of its own.

With r the root mean square of the block's output a on given images, channel c becomes

    (1 + s g_c) a_c + s r o_c,   g_c, o_c ~ N(0, 1),

the same for every image. A fixed distortion is one that learning can undo, in this block or the next; noise drawn
afresh for each image would not be a shift of this kind: it destroys information, as corruptions of the input do.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from surgicalft.blocks import Blocks
from surgicalft.evaluate import to_float
from surgicalft.seeds import generator
from surgicalft.shifts.image_files import LazyImages

GAIN, OFFSET = "planted_gain", "planted_offset"


def distort(
    network: nn.Module, block: str, blocks: Blocks, images: Tensor | LazyImages, seed: int
) -> Callable[[float], None]:
    """Scale -> the output of `block` so distorted, in place. Images: uint8 (n, c, h, w), to measure r on.

    The distortion hangs on the module that ends the block as two buffers, which copies and checkpoints
    carry along; parameters keep their names. Raises ValueError where the block is not made of whole modules,
    and where its output is distorted already.
    """
    path = output_module(network, block, blocks)
    module = network.get_submodule(path)
    if hasattr(module, GAIN):
        raise ValueError(
            f"the output of {block!r} ({path}) is distorted already; start from a copy"
        )
    gain, offset, size = _draw(network, module, block, images, seed)
    for name, value in ((GAIN, torch.ones_like(gain)), (OFFSET, torch.zeros_like(offset))):
        module.register_buffer(name, value)
    module.register_forward_hook(_distorted)

    def rescale(scale: float) -> None:
        getattr(module, GAIN).copy_(1 + scale * gain)
        getattr(module, OFFSET).copy_(scale * size * offset)

    return rescale


def output_module(network: nn.Module, block: str, blocks: Blocks) -> str:
    """Path of the last of the largest modules that hold parameters of this block and of no other."""
    own = set(blocks.parameters(block))
    path = ""
    for name in blocks.parameters(block):
        parents = name.split(".")[:-1]
        paths = (".".join(parents[: i + 1]) for i in range(len(parents)))
        whole = (p for p in paths if _inside(network.get_submodule(p), p, own))
        path = next(whole, "")
        if not path:
            raise ValueError(
                f"parameter {name!r} of {block!r} lies in no module that belongs to this block alone, so that the "
                "block's output is not that of a module; plant the noise in its parameters"
            )
    return path


def _inside(module: nn.Module, path: str, own: set[str]) -> bool:
    return all(f"{path}.{name}" in own for name, _ in module.named_parameters())


@torch.no_grad()
def _draw(
    network: nn.Module, module: nn.Module, block: str, images: Tensor | LazyImages, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gain and offset in the shape that broadcasts over the module's output, and the output's r."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output)

    hook = module.register_forward_hook(keep)
    training = network.training
    try:
        example = next(network.parameters())
        network.eval()(to_float(images[:100], example.device))
    finally:
        network.train(training)
        hook.remove()
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
        raise ValueError(
            f"the module that ends {block!r} is called {len(outputs)} times or returns no tensor"
        )
    output = outputs[0]
    axis = 1 if output.ndim == 4 else output.ndim - 1  # maps (n, c, h, w), else tokens or vectors
    shape = [1] * output.ndim
    shape[axis] = output.shape[axis]
    random = generator("planted", seed, block, "activations")
    gain, offset = (torch.randn(shape, generator=random).to(output) for _ in range(2))
    return gain, offset, output.square().mean().sqrt()


def _distorted(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output * getattr(module, GAIN) + getattr(module, OFFSET)
