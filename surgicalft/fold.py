"""Makes a frozen network cheaper to evaluate, with the same outputs to rounding.

A normalisation with stored statistics behind a convolution is an affine map of its outputs and goes into
the convolution's own weights; a rectifier may overwrite an input that nothing else reads. Both are exact in
exact arithmetic, and only right where nothing of this is learned: for prefixes (see surgicalft.split).
"""

import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

_FRESH = (nn.Conv2d, nn.Linear, nn.GroupNorm, _BatchNorm)  # their outputs share no memory


def fold(module: fx.GraphModule) -> fx.GraphModule:
    """Fold and rectify in place, in `module` itself; layers that it shares with others stay as they are."""
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
    """A normalisation with stored statistics right behind a convolution that only it reads."""
    norm = _layer(node, layers)
    if not isinstance(norm, nn.BatchNorm2d) or norm.training or norm.running_mean is None:
        return False
    source = node.all_input_nodes[0]
    return isinstance(_layer(source, layers), nn.Conv2d) and len(source.users) == 1


def _fold_into_convolution(
    module: fx.GraphModule, node: fx.Node, layers: dict[str, nn.Module]
) -> None:
    source = node.all_input_nodes[0]
    conv, norm = layers[str(source.target)], layers[str(node.target)]
    name = f"folded_{source.name}"
    module.add_submodule(name, fuse_conv_bn_eval(conv, norm))  # type: ignore[type-var, arg-type]
    layers[name] = module.get_submodule(name)
    source.target = name
    node.replace_all_uses_with(source)
    module.graph.erase_node(node)


def _may_overwrite(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    source = node.all_input_nodes[0]
    return isinstance(_layer(source, layers), _FRESH) and len(source.users) == 1
