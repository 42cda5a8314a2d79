"""BatchNorm whose stored statistics are a prior, which the present batch's correct.

Sources: Schneider et al. (2020), "Improving robustness against common corruptions by covariate shift adaptation";
Nado et al. (2020), "Evaluating Prediction-Time Batch Normalization for Robustness under Covariate Shift". MEMO (Zhang,
Levine and Finn 2022) used it for ResNet-50, with a prior of 16 images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d)


def use_prior(model: nn.Module, prior: int) -> None:
    """Normalise with statistics between the stored ones and those of the batch, in place.

    mean = r m_stored + (1 - r) m_batch, and the variance likewise, with r = prior / (prior + 1): the stored statistics
    count as much as `prior` batches, be they of one image or of many views of it. As in MEMO's published code the
    batch's variance is the unbiased one, and its statistics are constants for gradients.

    Every BatchNorm1d and BatchNorm2d with running statistics becomes a `PriorNorm` with its very parameters and
    buffers under their names. An image's outputs then depend on the others in its batch: where these are not views of
    that image, it should come alone.

    Raises ValueError for prior < 0, for a model without such layers inside, and for layers of a class derived from
    these with a forward of its own.
    """
    if prior < 0:
        raise ValueError(f"prior must be 0 or more, not {prior}")
    parents = list(model.modules())
    layers = {child for parent in parents for child in parent.children() if _has_statistics(child)}
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no BatchNorm1d or BatchNorm2d with running statistics"
        )
    new = {layer: PriorNorm(layer, prior) for layer in layers}
    for parent in parents:
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])


class PriorNorm(nn.Module):
    """g (x - mean) / sqrt(var + eps) + b with the statistics of `use_prior`; (n, c, ...) -> the same shape.

    The same in training and evaluation mode. Stored statistics do not change. Raises ValueError where a channel has
    one value only.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: nn.Module, prior: int) -> None:
        super().__init__()
        assert isinstance(layer, _BatchNorm)
        if type(layer).forward is not _BatchNorm.forward:
            raise ValueError(
                f"{type(layer).__name__} does more than BatchNorm: it has no PriorNorm"
            )
        self.prior, self.eps = prior, layer.eps
        self.register_parameter("weight", layer.weight)
        self.register_parameter("bias", layer.bias)
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        stored = (self.running_mean, self.running_var)
        return normalise(x, *stored, self.weight, self.bias, self.prior, self.eps)


def normalise(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    prior: int,
    eps: float,
) -> Tensor:
    """What `PriorNorm` computes."""
    own_mean, own_var = torch.zeros_like(mean), torch.ones_like(var)
    # The pass that updates running statistics gives both moments several times faster than torch.var_mean.
    F.batch_norm(x.detach(), own_mean, own_var, training=True, momentum=1.0)
    share = prior / (prior + 1)
    mixed = own_mean.lerp(mean, share), own_var.lerp(var, share)
    return F.batch_norm(x, *mixed, weight, bias, eps=eps)


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, KINDS) and module.running_mean is not None
