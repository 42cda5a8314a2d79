"""How much faster than a loop over images, and within which memory: gradients of 64 single images, ResNet-26.

The loop is plain PyTorch: for each image forward, backward and a copy of the gradients of all parameters. It has the
number of threads that suits it best, PyTorch's own or one: small operations may gain nothing from several, and lose
much where the machine does other work, which would flatter us. A ratio is the median over ROUNDS of the loop's
seconds / ours, taking turns in processes of their own; seconds are never asserted. Measure on an idle machine.

Memory is within its bound. The speed's bar is out of reach on two cores. Milliseconds for an image, of one Zen 4
core of a shared machine, networks as they are built; CPU time of whole batches, the least of several:

    the loop                                   12.4   9.4 for single images, the least of 600: an idle machine's
    layers, as here                             5.4
    torch.func                                  6.2
    a training step's forward and backward      4.2   no gradients of single images
    its forward and its gradients of inputs     2.9
    floating-point bound                        2.7   0.33 GFLOP at the 122 GFLOP/s that the best convolution reaches

Two cores, if nothing is lost between them, are twice as fast: 4.6 times the loop, under equal conditions, and on an
idle machine 7 times at the floating-point bound. Most of the difference is gradients of weights: a batch's are a
product over all images and positions, at 105 to 115 GFLOP/s; for single images the best of what PyTorch offers reaches
75 (grouped convolution 75, matrix products 50 to 80, unfolding 20 to 50). So the bar takes three cores or more.
"""

import os
import resource
import time

import pytest
import torch
import torch.nn.functional as F
from sides import median_ratio, side

from surgicalft.methods.per_input import gradient_moments, per_input_gradients
from surgicalft.models.networks import build

ROUNDS = int(os.environ.get("SURGICALFT_BENCHMARK_ROUNDS", "7"))
BAR = 8.0
BATCH = 64
CHUNK = 16
TIMED = 16  # an image costs the loop what any other does: 16 are timed, for 64
NETWORKS = ("resnet26-bn", "resnet26-gn")
FLOAT = 4  # bytes
SLACK = 20e6  # bytes: what the C library leaves between blocks, and threads' own


def case(name, n=BATCH):
    """The network in eval mode, as `load_network` gives it, and a batch."""
    random = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, 32, 32, generator=random)
    return build(name, 10, seed=0).eval(), images, torch.randint(0, 10, (n,), generator=random)


def loop(model, images, labels):
    names = [name for name, _ in model.named_parameters()]
    found = {name: [] for name in names}
    for i in range(len(labels)):
        model.zero_grad()
        F.cross_entropy(model(images[i : i + 1]), labels[i : i + 1]).backward()
        for name, parameter in model.named_parameters():
            found[name].append(parameter.grad.clone())
    return {name: torch.stack(gradients) for name, gradients in found.items()}


def ours(model, images, labels):
    return per_input_gradients(model, images, labels, [n for n, _ in model.named_parameters()])


def seconds(compute, *arguments):
    start = time.perf_counter()
    compute(*arguments)
    return time.perf_counter() - start


def loop_seconds(name):
    """With PyTorch's number of threads, and with one."""
    model, images, labels = case(name, TIMED)
    threads = torch.get_num_threads()
    times = []
    for count in (threads, 1):
        torch.set_num_threads(count)
        loop(model, images[:2], labels[:2])
        times.append(seconds(loop, model, images, labels) * BATCH / TIMED)
    torch.set_num_threads(threads)
    return times


def our_seconds(name):
    arguments = case(name)
    ours(*arguments)
    return seconds(ours, *arguments)


@pytest.fixture(scope="module")
def sides():
    with side() as plain, side() as fast:
        yield plain, fast


@pytest.mark.parametrize("name", NETWORKS)
def test_speed(benchmark, sides, name):
    plain, fast = sides
    rounds = []

    def paired():
        slow = plain.submit(loop_seconds, name).result()
        rounds.append((*slow, fast.submit(our_seconds, name).result()))

    benchmark.pedantic(paired, rounds=ROUNDS)
    ratio = median_ratio([(min(slow), quick) for *slow, quick in rounds])
    default, single = (median_ratio([(r[i], r[-1]) for r in rounds]) for i in (0, 1))
    benchmark.extra_info.update(ratio=round(ratio, 1), rounds=rounds)
    print(
        f"\n{name}: {ratio:.1f}x the loop; {default:.1f}x by default, {single:.1f}x with one thread"
    )
    assert ratio >= BAR


def step(model, images, labels):
    F.cross_entropy(model(images), labels).backward()


def moments(model, images, labels):
    names = [name for name, _ in model.named_parameters()]
    return gradient_moments(model, images, labels, names, chunk=CHUNK)


def growth(compute, name, n):
    """By how many bytes the largest size of this process grows; one that has done little else is needed."""
    warm = case(name, 2)
    compute(*warm)
    arguments = case(name, n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compute(*arguments)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def fresh(*arguments):
    with side() as process:
        return process.submit(growth, *arguments).result()


@pytest.mark.parametrize("name", NETWORKS)
def test_memory(name):
    """All gradients: their own size and the largest tensor's; moments: a chunk of them; both: a training step.

    With P scalars in all tensors, p in the largest: n (P + p), or chunk (P + p) + 2 P + 4 p for any n.
    """
    sizes = [p.numel() for p in case(name)[0].parameters()]
    total, largest = sum(sizes), max(sizes)
    bounds = {
        ours: FLOAT * BATCH * (total + largest) + fresh(step, name, BATCH),
        moments: FLOAT * (CHUNK * (total + largest) + 2 * total + 4 * largest)
        + fresh(step, name, CHUNK),
    }
    for compute, n in ((ours, BATCH), (moments, BATCH), (moments, 4 * BATCH)):
        used = fresh(compute, name, n)
        print(f"\n{name}, {n} images: {used / 1e6:.0f} MB, at most {bounds[compute] / 1e6:.0f}")
        assert used <= bounds[compute] + SLACK
