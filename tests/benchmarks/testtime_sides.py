"""The two sides of the comparison of test-time adaptation."""

import copy
import time
from functools import cache

import numpy as np
import torch
from torch import nn

from surgicalft.blocks import Blocks
from surgicalft.models.zoo import load_published
from surgicalft.shifts import get_scenario
from surgicalft.testtime.augment import AugMix
from surgicalft.testtime.episodic import Episodic
from surgicalft.testtime.memo import Memo
from surgicalft.testtime.online import Online
from surgicalft.testtime.streams import stream

SCENARIO, MODEL = "cifar10-lossless-c/gaussian_noise", "memo-resnet26-gn"
N_PLAIN, N_OURS, N_SAME = 24, 96, 300  # images that are timed, and that accuracies are compared on
OURS = {"episodic": ("adamw", 1e-4), "online": ("sgd", 1e-3)}


@cache
def data():
    return stream(get_scenario(SCENARIO).load(None).pool, 10, seed=0)


@cache
def network() -> nn.Module:
    return load_published(MODEL)


def memo(mode, precision="float32"):
    name, rate = OURS[mode]
    return Memo(rate, name, precision=precision)


def plain_run(selection, mode, n):
    from testtime.pillow_augmix import views

    model, images = copy.deepcopy(network()), data()
    random = np.random.default_rng(0)
    state = copy.deepcopy(model.state_dict())
    tuned = [model.get_parameter(name) for name in Blocks.of(model).select(selection).parameters]
    name, rate = OURS[mode]
    make = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    optimizer, predicted = make(tuned, rate, weight_decay=0.0), []
    start = time.perf_counter()
    for image in images.images[:n]:
        if mode == "episodic":
            model.load_state_dict(state)
            optimizer = make(tuned, rate, weight_decay=0.0)
        model.zero_grad()
        mean = (
            model(views(image, 32, random, AugMix())).log_softmax(-1).logsumexp(0)
            - torch.tensor(32.0).log()
        )
        (-(mean.exp() * mean).sum()).backward()
        optimizer.step()
        with torch.no_grad():
            predicted.append(model(image[None].float() / 255).argmax(1))
    return _result(start, torch.cat(predicted), images.labels[:n])


def our_run(selection, mode, n, precision="float32"):
    model, images = network(), data()
    start = time.perf_counter()
    chosen, some = Blocks.of(model).select(selection), images.images[:n]
    kind = Episodic if mode == "episodic" else Online
    outputs = torch.stack(list(kind(model, chosen, memo(mode, precision))(some, range(n))))
    return _result(start, outputs.argmax(1), images.labels[:n])


def _result(start, predicted, labels):
    seconds = (time.perf_counter() - start) / len(labels)
    return {"seconds": seconds, "correct": predicted == labels}


def warm_up(which):
    """Imports, data and the first calls of every kernel, which no measurement should contain."""
    run = plain_run if which == "plain" else our_run
    for selection in ("all", "last"):
        run(selection, "episodic", 4)
    return torch.get_num_threads()
