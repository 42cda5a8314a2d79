"""MEMO written down as it is told: one image at a time, every gradient computed, weights put back afterwards."""

import copy

import torch
import torch.nn.functional as F

from surgicalft.seeds import derive_seed
from surgicalft.testtime.augment import augment


def objective(logits):
    mean = logits.softmax(-1).mean(0)
    return -(mean * mean.log()).sum()


def optimizer_of(network, tuned, memo):
    parameters = [p for name, p in network.named_parameters() if name in tuned]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[memo.optimizer](parameters, memo.learning_rate, weight_decay=memo.weight_decay)


def adapt(network, optimizer, memo, image, seed):
    for step in range(memo.steps):
        own = [derive_seed(seed, step)]
        views = augment(image[None], memo.augmentations, own, memo.views)[0]
        network.zero_grad()
        objective(network(views)).backward()
        optimizer.step()


def predict(network, image):
    with torch.no_grad():
        return F.log_softmax(network(image[None].float() / 255), 1)[0]


def episodic(network, tuned, memo, images, seeds):
    """Log-probabilities (n, classes)."""
    found = []
    for image, seed in zip(images, seeds, strict=True):
        own = copy.deepcopy(network).eval()
        adapt(own, optimizer_of(own, tuned, memo), memo, image, seed)
        found.append(predict(own, image))
    return torch.stack(found)


def online(network, tuned, memo, images, seeds):
    own = copy.deepcopy(network).eval()
    optimizer, found = optimizer_of(own, tuned, memo), []
    for image, seed in zip(images, seeds, strict=True):
        adapt(own, optimizer, memo, image, seed)
        found.append(predict(own, image))
    return torch.stack(found)
