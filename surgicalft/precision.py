"""The precision of passes through a network: float32, or bfloat16 where PyTorch's autocast thinks it safe.

Weights, gradients and optimisers stay in float32. bfloat16 has the range of float32 and 8 significant bits; processors
with instructions for it (AVX512-BF16, AMX, tensor cores) multiply about twice as fast.
"""

import torch

PRECISIONS = ("float32", "bfloat16")


def autocast(precision: str, device: str | torch.device = "cpu") -> torch.autocast:
    """The context of a forward pass; it holds for the thread that enters it."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16")
