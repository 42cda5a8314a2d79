"""Networks that people write and that a mechanism behind their back may get wrong, each with what should be reused.

`ODD` maps a name to (network, selections, whether something should answer from memory for each of these, or None where
either is right). All take images (n, 3, 12, 12) and have the blocks `PATTERNS`.
"""

import random
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

PATTERNS = {"a": r"a\.", "b": r"b\.", "c": r"c\."}


class Plain(nn.Module):
    """a and b, convolutions; c, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)
        self.b = nn.Conv2d(8, 8, 3, 2, 1)
        self.c = nn.Linear(72, 4)

    def early(self, x):
        return F.relu(self.a(x))

    def forward(self, x):
        return self.c(F.relu(self.b(self.early(x))).flatten(1))


class Rounding(torch.autograd.Function):
    """Straight through."""

    @staticmethod
    def forward(ctx, x):
        return (x * 16).round() / 16

    @staticmethod
    def backward(ctx, g):
        return g


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -g


class StraightThrough(Plain):
    def early(self, x):
        return Rounding.apply(super().early(x))


class GradientReversal(Plain):
    def early(self, x):
        return Reversal.apply(super().early(x))


class NoGrad(Plain):
    def early(self, x):
        with torch.no_grad():
            return super().early(x)


class Detached(Plain):
    def early(self, x):
        return super().early(x).detach()


class Clamp(Plain):
    def early(self, x):
        h = self.a(x)
        h.clamp_(-0.4, 0.4)
        return h


class ClampView(Plain):
    def early(self, x):
        h = self.a(x)
        h.flatten(1).clamp_(-0.1, 0.1)
        return h


class InPlaceModule(Plain):
    """What the rectifier overwrote is read under its old name."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def early(self, x):
        h = self.a(x)
        y = self.relu(h)
        return h + y


class InPlaceOnOwn(Plain):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def early(self, x):
        h = self.a(x) + x.mean()
        self.relu(h)
        return h * 2


class Ema(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("m", torch.zeros(8))

    def early(self, x):
        h = self.a(x)
        if self.training:
            self.m.mul_(0.9).add_(0.1 * h.detach().mean((0, 2, 3)))
        return F.relu(h - self.m[None, :, None, None])


class ReboundEma(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("m", torch.zeros(8))

    def early(self, x):
        h = self.a(x)
        if self.training:
            self.m = 0.9 * self.m + 0.1 * h.detach().mean((0, 2, 3))
        return F.relu(h - self.m[None, :, None, None])


class EmaModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.register_buffer("m", torch.zeros(8))

    def forward(self, x):
        h = self.conv(x)
        self.m.mul_(0.9).add_(0.1 * h.detach().mean((0, 2, 3)))
        return h - self.m[None, :, None, None]


class StatefulModule(Plain):
    """Its state changes in evaluation mode, too."""

    def __init__(self):
        super().__init__()
        self.a = EmaModule()


class Counter(Plain):
    """Every third call is another."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def early(self, x):
        self.calls += 1
        return super().early(x) * (2 if self.calls % 3 == 0 else 1)


class CountingModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.conv(x) * (2 if self.calls > 20 else 1)


class CounterInside(Plain):
    """It changes its mind after twenty calls, which no short trial sees."""

    def __init__(self):
        super().__init__()
        self.a = CountingModule()


class PythonRandom(Plain):
    def early(self, x):
        return super().early(x) * (1.5 if self.training and random.random() < 0.5 else 1.0)


class NumpyRandom(Plain):
    def early(self, x):
        return super().early(x) * (1 + (np.random.rand() if self.training else 0.0))


class Noise(Plain):
    def early(self, x):
        h = super().early(x)
        return h + 0.1 * torch.randn_like(h) if self.training else h


class TorchCoin(Plain):
    """Decides by a random number."""

    def early(self, x):
        h = super().early(x)
        return h * 2 if self.training and torch.rand(()).item() < 0.5 else h


class BranchWithDropout(nn.Module):
    """Dropout in a frozen branch beside the tuned one."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)
        self.b = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Dropout(0.5))
        self.c = nn.Linear(576, 4)

    def forward(self, x):
        return self.c(torch.cat([self.a(x).flatten(1), self.b(x).flatten(1)], 1))


class Branches(nn.Module):
    """Either branch is constant while the other is tuned."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.b = nn.Sequential(
            nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.c = nn.Linear(48, 4)

    def forward(self, x):
        return self.c(torch.cat([self.a(x), self.b(x)], 1))


class BatchStatistics(Plain):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8, track_running_stats=False)
        )


class BatchCentred(Plain):
    def early(self, x):
        h = super().early(x)
        return h - h.mean(0)


class FaintlyBatchDependent(Plain):
    """By a thousandth: below any tolerance for rounding."""

    def __init__(self):
        super().__init__()
        self.a = FaintModule()


class FaintModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        h = self.conv(x)
        return h + 1e-5 * h.amax()


class DividedByBatch(Plain):
    def __init__(self):
        super().__init__()
        self.a = BatchSize()


class BatchSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        return self.conv(x) / len(x)


class Rolled(Plain):
    """Each image sees its neighbour."""

    def early(self, x):
        h = super().early(x)
        return h + 0.5 * h.roll(1, 0)


class DecidesByValues(Plain):
    def __init__(self):
        super().__init__()
        self.a = Decides()


class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        return self.conv(x * 2 if x[:, 0].mean() > 0.3 else x)


class MaskOfBytes(Plain):
    def forward(self, x):
        h = F.relu(self.a(x))
        mask = (x[:, :1, ::2, ::2] > 0.5).to(torch.uint8)
        return self.c(F.relu(self.b(h * mask)).flatten(1))


class MaskModule(nn.Module):
    def forward(self, x):
        return (x[:, :1, ::4, ::4] > 0.5).to(torch.uint8)


class MaskFromModule(Plain):
    """Bytes that are no images are kept."""

    def __init__(self):
        super().__init__()
        self.mask = MaskModule()

    def forward(self, x):
        return self.c((F.relu(self.b(F.relu(self.a(x)))) * self.mask(x)).flatten(1))


class SharedModule(nn.Module):
    """The same convolution, and the same rectifier, at two places."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)
        self.b = nn.Conv2d(8, 8, 3, 1, 1)
        self.c = nn.Linear(288, 4)
        self.act = nn.ReLU()

    def forward(self, x):
        h = self.act(self.b(self.act(self.a(x))))
        return self.c(self.act(self.b(h)).flatten(1))


class SharedActivation(Plain):
    """One rectifier is a child of both blocks."""

    def __init__(self):
        super().__init__()
        act = nn.ReLU()
        self.a, self.b = nn.Sequential(self.a, act), nn.Sequential(self.b, act)


class Tied(nn.Module):
    """b computes with the weights of a."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(432, 432)
        self.b = nn.Linear(432, 16)
        self.c = nn.Linear(16, 4)

    def forward(self, x):
        h = torch.tanh(self.a(x.flatten(1)))
        return self.c(torch.tanh(self.b(F.linear(h, self.a.weight.t()))))


class UsesWeightElsewhere(Plain):
    """A frozen module's weight is computed with outside of it."""

    def forward(self, x):
        h = F.relu(self.b(self.early(x)))
        return self.c(h.flatten(1)) + self.a.weight.mean() * self.c.weight.sum()


class OldWeightNorm(Plain):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.a, self.b = nn.utils.weight_norm(self.a), nn.utils.weight_norm(self.b)


class OldSpectralNorm(Plain):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.utils.spectral_norm(self.a), nn.utils.spectral_norm(self.b)


class WeightNorm(Plain):
    def __init__(self):
        super().__init__()
        self.a, self.b = parametrizations.weight_norm(self.a), parametrizations.weight_norm(self.b)


class SpectralNorm(Plain):
    def __init__(self):
        super().__init__()
        self.a = parametrizations.spectral_norm(self.a)
        self.b = parametrizations.spectral_norm(self.b)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(36, 16)
        self.b = nn.LSTM(16, 8, num_layers=2, batch_first=True)
        self.c = nn.Linear(8, 4)

    def forward(self, x):
        out, (h, _) = self.b(torch.tanh(self.a(x.permute(0, 2, 1, 3).flatten(2))))
        return self.c(out[:, -1] + h[-1])


class Attention(nn.Module):
    def __init__(self, fast=False):
        super().__init__()
        self.a = nn.Linear(36, 16)
        self.b = (
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
            if fast
            else nn.MultiheadAttention(16, 2, batch_first=True)
        )
        self.c = nn.Linear(16, 4)

    def forward(self, x):
        t = self.a(x.permute(0, 2, 1, 3).flatten(2))
        out = self.b(t) if isinstance(self.b, nn.TransformerEncoderLayer) else self.b(t, t, t)[0]
        return self.c(out.mean(1))


class EncoderLayer(Attention):
    def __init__(self):
        super().__init__(fast=True)


class Hooked(Plain):
    def __init__(self):
        super().__init__()
        self.seen = 0
        self.a.register_forward_hook(lambda module, inputs, output: output * 1.5)


class Patched(Plain):
    """An instance attribute forward of the user's own."""

    def __init__(self):
        super().__init__()
        forward = self.a.forward
        self.a.forward = lambda x: forward(x) * 1.5


class KeepsActivation(Plain):
    """For Grad-CAM."""

    def early(self, x):
        self.last = super().early(x)
        return self.last


class ReadsAttribute(Plain):
    """What a module leaves behind is read by another."""

    def __init__(self):
        super().__init__()
        self.a = Leaves()

    def forward(self, x):
        h = self.a(x)
        return self.c(F.relu(self.b(h + self.a.extra)).flatten(1))


class Leaves(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        h = self.conv(x)
        self.extra = h.tanh()
        return F.relu(h)


class ReadsLastBatch(Plain):
    """The state of the batch before, in an attribute."""

    def __init__(self):
        super().__init__()
        self.memory = torch.zeros(8)

    def early(self, x):
        h = super().early(x)
        out = h + self.memory[None, :, None, None]
        self.memory = h.detach().mean((0, 2, 3))
        return out


class SideList(Plain):
    """Features are handed on in a list that is an argument."""

    def __init__(self):
        super().__init__()
        self.a = Appends()

    def forward(self, x):
        seen = []
        h = self.a(x, seen)
        return self.c(F.relu(self.b(h + seen[0])).flatten(1))


class Appends(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x, seen):
        h = self.conv(x)
        seen.append(h.tanh())
        return F.relu(h)


class Nested(nn.Module):
    """Modules give dictionaries and tuples."""

    def __init__(self):
        super().__init__()
        self.a = Pair()
        self.b = nn.Conv2d(8, 8, 3, 2, 1)
        self.c = nn.Linear(72, 4)

    def forward(self, x):
        out = self.a(x)
        h = out["low"] + 0.5 * out["more"][0]
        return self.c(F.relu(self.b(h)).flatten(1)) * out["scale"]


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        h = F.relu(self.conv(x))
        return {"low": h, "more": (h.tanh(), None), "scale": 2}


class ModuleLists(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)])
        self.b = nn.ModuleDict({"x": nn.Conv2d(8, 8, 3, 2, 1)})
        self.c = nn.Linear(72, 4)

    def forward(self, x):
        for layer in self.a:
            x = F.relu(layer(x))
        return self.c(self.b["x"](x).flatten(1))


class ScriptedPart(Plain):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.a = torch.jit.script(nn.Sequential(self.a, nn.ReLU()))


class ZeroHead(Plain):
    """No gradient reaches what is in front of it, at first."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.c.weight)
        nn.init.zeros_(self.c.bias)


class View(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3)
        self.b = nn.Conv2d(6, 8, 3)
        self.c = nn.Linear(72, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.a(x)), 2)
        return self.c(F.relu(self.b(x)).view(-1, 72))


class Checkpointed(Plain):
    def early(self, x):
        return torch.utils.checkpoint.checkpoint(super().early, x, use_reentrant=False)


class LateDropout(Plain):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.c(self.drop(F.relu(self.b(self.early(x))).flatten(1)))


class NormInTraining(Plain):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.b = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8))


class CallsForwardDirectly(Plain):
    def early(self, x):
        return F.relu(self.a.forward(x))


class OtherMethod(Plain):
    def __init__(self):
        super().__init__()
        self.a = TwoMethods()

    def forward(self, x):
        return self.c(F.relu(self.b(self.a.features(x))).flatten(1))


class TwoMethods(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def features(self, x):
        return F.relu(self.conv(x))


class Argmax(Plain):
    """A hard choice among prototypes depends on what learns, without a gradient."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 72)
        self.table.weight.requires_grad_(False)

    def forward(self, x):
        h = self.b(self.early(x))
        chosen = h.detach().mean((2, 3)).argmax(1)
        return self.c(F.relu(h).flatten(1) + self.table(chosen))

    def block_patterns(self):
        return {"a": r"a\.", "b": r"b\.", "c": r"c\.|table\."}


class Then(nn.Module):
    """A convolution, a rectifier, and something that is done with the batch."""

    def __init__(self, do):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.do = do

    def forward(self, x):
        return self.do(F.relu(self.conv(x)), x)


def edges(x):
    return (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))


def shifted(h, x):
    if len(h) % 8:
        return h
    v = h.view(len(h) // 8, 8, *h.shape[1:])
    o = v.clone()
    o[:, :-1, :4] = v[:, 1:, :4]
    return o.view_as(h)


BATCHES = {
    "MinusFirst": lambda h, x: h - h[:1],
    "CumulativeSum": lambda h, x: 0.2 * h.cumsum(0),
    "PlaceInBatch": lambda h, x: h + 0.01 * torch.arange(len(h))[:, None, None, None],
    "CentredFromEight": lambda h, x: h - h.mean(0) if len(h) >= 8 else h,
    "ShiftedByEight": shifted,
    "GateByLargest": lambda h, x: h * (1 + 5 * F.relu(edges(x).max() - 0.9)),
    "OverLargest": lambda h, x: h / x.amax(),
    "DecidesInPython": lambda h, x: h * 3 if max(edges(x).tolist()) > 0.9 else h,
}


def _batch(name, do):
    def init(self):
        Plain.__init__(self)
        self.a = Then(do)

    return type(name, (Plain,), {"__init__": init})


BATCHED = [_batch(name, do) for name, do in BATCHES.items()]


class OwnGenerator(Plain):
    """Stochastic depth by a generator of its own, rarely."""

    def __init__(self):
        super().__init__()
        self.random = random.Random(3)

    def early(self, x):
        rare = self.training and self.random.random() < 0.1
        return super().early(x) * (0 if rare else 1)


class Lambda(Plain):
    """Copies compute with the original's parameter."""

    def __init__(self):
        super().__init__()
        self.g = nn.Parameter(torch.ones(8, 1, 1))
        self.act = lambda x: F.relu(x * self.g)

    def early(self, x):
        return self.act(self.a(x))

    def block_patterns(self):
        return {"a": r"a\.", "b": r"b\.|g$", "c": r"c\."}


class SharedStorage(nn.Module):
    """Two parameters, one memory."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(432, 432)
        self.b = nn.Linear(432, 432)
        self.c = nn.Linear(432, 4)
        self.b.weight.data = self.a.weight.data

    def forward(self, x):
        return self.c(self.b(self.a(x.flatten(1)).relu()).relu())


class SameMemoryTwice(Plain):
    def __init__(self):
        super().__init__()
        self.a = Twice()
        self.c = nn.Linear(288, 4)

    def forward(self, x):
        h, flat = self.a(x)
        h.view(len(h), -1).mul_(1 + 20 * F.relu(edges(x) - 0.9)[:, None])
        return self.c(flat) + 0 * self.b.weight.sum()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        h = F.relu(self.conv(x))
        return h, h.flatten(1)


class MicroBatches(Plain):
    def forward(self, x):
        return torch.cat([super(MicroBatches, self).forward(part) for part in x.split(8)])


class BrighterInEvaluation(Plain):
    def forward(self, x):
        if not self.training:
            x = x * (1 + (x.mean((1, 2, 3), keepdim=True) < 0.1).to(x.dtype))
        return super().forward(x)


YES, NO, ANY = True, False, None
A, B, C = ("a", NO), ("b", YES), ("c", YES)
ODD = {
    Plain: (A, B, C),
    StraightThrough: (A, B, C),
    GradientReversal: (A, B, C),
    NoGrad: (B, C, ("all", NO)),
    Detached: (B, C, ("all", NO)),
    Clamp: (A, B, C),
    ClampView: (A, B, C),
    InPlaceModule: (A, ("b", ANY), C),
    InPlaceOnOwn: (A, B, C),
    Ema: (A, ("b", YES), ("c", YES)),
    ReboundEma: (A, ("b", YES), ("c", YES)),
    StatefulModule: (A, ("b", ANY), ("c", ANY)),
    Counter: (A, ("b", NO), ("c", NO)),
    CounterInside: (A, ("b", NO), ("c", NO)),
    PythonRandom: (A, ("b", NO), ("c", NO)),
    NumpyRandom: (A, ("b", NO), ("c", NO)),
    Noise: (A, ("b", ANY), ("c", ANY)),
    TorchCoin: (A, ("b", NO), ("c", NO)),
    BranchWithDropout: (("a", ANY), ("b", YES), ("c", YES)),
    Branches: (("a", YES), ("b", YES), C),
    BatchStatistics: (A, ("b", YES), ("c", YES)),
    BatchCentred: (A, ("b", YES), ("c", YES)),
    FaintlyBatchDependent: (A, ("b", YES), ("c", YES)),
    DividedByBatch: (A, ("b", YES), ("c", YES)),
    Rolled: (A, B, C),
    DecidesByValues: (A, ("b", ANY), ("c", ANY)),
    MaskOfBytes: (A, B, C),
    MaskFromModule: (A, B, C),
    SharedModule: (A, B, C),
    SharedActivation: (A, B, C),
    Tied: (("a", NO), ("b", ANY), C),
    UsesWeightElsewhere: (A, B, C),
    OldWeightNorm: (A, ("b", NO), ("c", NO)),
    OldSpectralNorm: (A, ("b", NO), ("c", NO)),
    WeightNorm: (A, B, C),
    SpectralNorm: (A, B, C),
    Recurrent: (A, B, ("c", ANY)),
    Attention: (A, B, C),
    EncoderLayer: (A, B, C),
    Hooked: (A, ("b", NO), C),
    Patched: (A, ("b", NO), ("c", NO)),
    KeepsActivation: (A, B, C),
    ReadsAttribute: (A, ("b", YES), C),
    ReadsLastBatch: (A, ("b", ANY), ("c", ANY)),
    SideList: (A, ("b", YES), C),
    Nested: (A, B, C),
    ModuleLists: (A, B, C),
    ScriptedPart: (A, ("b", NO), C),
    ZeroHead: (A, B, C),
    View: (A, B, C),
    Checkpointed: (A, B, C),
    LateDropout: (A, B, C),
    NormInTraining: (A, B, C),
    CallsForwardDirectly: (A, B, C),
    OtherMethod: (A, B, C),
    Argmax: (A, B, C),
    **{kind: (A, ("b", ANY), ("c", ANY)) for kind in BATCHED},
    OwnGenerator: (A, ("b", NO), ("c", NO)),
    Lambda: (("b", NO), ("c", NO)),
    SharedStorage: (("b", NO),),
    SameMemoryTwice: (("c", ANY),),
    MicroBatches: (A, ("b", NO), ("c", NO)),
    BrighterInEvaluation: (("b", NO), ("c", NO)),
}
