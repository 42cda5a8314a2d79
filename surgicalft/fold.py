"""Makes a network cheaper to compute with; its outputs and gradients stay the same to rounding.

A normalisation whose statistics stay as they are is an affine map of each channel, so behind a convolution it
goes into the convolution's weights: a product of small tensors instead of a pass over all activations, forward
and backward. A rectifier may overwrite an input that nothing else reads. Both are exact in exact arithmetic,
for gradients too: the folded weights are differentiable functions of the layers' own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from surgicalft.freezing import Held


class Folded(nn.Module):
    """norm(conv(x)) as one convolution, for stored statistics (mean m, variance v) that do not change.

    With s = g / sqrt(v + eps), its weight is W s and its bias c + (b - m) s, where W and b are the convolution's
    and g and c the normalisation's. The layers keep these; the product is made once where all are frozen,
    else at each call. Source: Jacob et al. (2018), "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", section 3.2.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm
        assert norm.running_mean is not None and norm.running_var is not None
        self._mean, self._rate = norm.running_mean, (norm.running_var + norm.eps).rsqrt()
        frozen = not any(parameter.requires_grad for parameter in self.parameters())
        self._fixed = self._affine() if frozen else None

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self._fixed or self._affine()
        conv = self.conv
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    def _affine(self) -> tuple[Tensor, Tensor]:
        conv, norm = self.conv, self.norm
        scale = norm.weight * self._rate if norm.affine else self._rate
        shift = self._mean if conv.bias is None else self._mean - conv.bias
        bias = torch.addcmul(norm.bias, shift, scale, value=-1) if norm.affine else -shift * scale
        return conv.weight * scale.view(-1, 1, 1, 1), bias


# Layers whose outputs share no memory with another tensor, and which do not need them for their gradients.
_FRESH = (nn.Conv2d, nn.Linear, nn.GroupNorm, _BatchNorm, Folded)


def fold(module: fx.GraphModule) -> fx.GraphModule:
    """Fold and rectify in place, in `module` itself; layers that it shares with others stay as they are.

    Folds normalisations that `surgicalft.freezing.freeze` holds at their stored statistics, and trusts
    frozen parameters not to change afterwards; what learns is read afresh at each call.
    """
    layers = dict(module.named_modules())
    for node in list(module.graph.nodes):
        if _is_foldable(node, layers):
            _fold_into_convolution(module, node, layers)
        elif node.op == "call_function" and node.target is F.relu and _may_overwrite(node, layers):
            node.kwargs = {**node.kwargs, "inplace": True}
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _layer(node: fx.Node, layers: dict[str, nn.Module]) -> nn.Module | None:
    return layers[str(node.target)] if node.op == "call_module" else None


def _is_foldable(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """A normalisation held at stored statistics right behind a convolution that only it reads."""
    norm = _layer(node, layers)
    if not (isinstance(norm, nn.BatchNorm2d) and isinstance(norm, Held)):
        return False
    source = node.all_input_nodes[0]
    conv = _layer(source, layers)
    plain = isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros"
    return plain and norm.running_mean is not None and len(source.users) == 1


def _fold_into_convolution(
    module: fx.GraphModule, node: fx.Node, layers: dict[str, nn.Module]
) -> None:
    source = node.all_input_nodes[0]
    conv, norm = layers[str(source.target)], layers[str(node.target)]
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    name = f"folded_{source.name}"
    layers[name] = Folded(conv, norm)
    module.add_submodule(name, layers[name])
    source.target = name
    node.replace_all_uses_with(source)
    module.graph.erase_node(node)


def _may_overwrite(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    source = node.all_input_nodes[0]
    return isinstance(_layer(source, layers), _FRESH) and len(source.users) == 1
