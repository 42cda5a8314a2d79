"""CLIP's towers: open_clip's own computation and names, the paper's blocks, and what tuning one block costs."""

import subprocess
import sys

import open_clip
import pytest
import torch

from surgicalft.blocks import Blocks
from surgicalft.models.clip import TOWERS, ClipClassifier
from surgicalft.models.networks import build

OPEN_CLIP = {"b-16": "ViT-B-16", "l-14": "ViT-L-14", "l-14-336": "ViT-L-14-336"}


def on_meta(name, **options):
    with torch.device("meta"):
        return ClipClassifier(TOWERS[name], 10, **options)


@pytest.mark.parametrize("name", OPEN_CLIP)
@pytest.mark.parametrize("quick", [True, False], ids=["quick", "exact"])
def test_the_tower_is_open_clips(name, quick):
    with torch.device("meta"):
        full_name = OPEN_CLIP[name] + ("-quickgelu" if quick else "")
        theirs = open_clip.create_model(full_name, device="meta").visual
    ours = on_meta(name, quick_gelu=quick).visual
    shapes = [{k: v.shape for k, v in tower.state_dict().items()} for tower in (ours, theirs)]
    assert shapes[0] == shapes[1]
    block, their_block = (tower.transformer.resblocks[0] for tower in (ours, theirs))
    assert type(block.mlp.gelu) is type(their_block.mlp.gelu)
    assert block.attn.num_heads == their_block.attn.num_heads
    assert block.ln_1.eps == their_block.ln_1.eps and ours.output_dim == theirs.output_dim


def test_parameters_of_the_published_sizes():
    """86.2 and 304.0 million in the towers: what open_clip's model_profile.csv states for the image parts."""
    for name, millions in (("b-16", 86.19), ("l-14", 303.97)):
        count = sum(p.numel() for p in on_meta(name).visual.parameters())
        assert round(count / 1e6, 2) == millions


def test_the_head_reads_the_projected_embedding():
    network = build("clip-vit-tiny", 10, seed=0).eval()
    images = torch.rand(3, 3, 32, 32)
    embedding = network.network.visual(network.normalize(images))
    assert embedding.shape == (3, TOWERS["tiny"].embed)
    torch.testing.assert_close(network(images), network.network.head(embedding))
    assert sum(p.numel() for p in network.parameters()) < 500_000


@pytest.mark.parametrize(("name", "layers"), [("tiny", 8), ("b-16", 12), ("l-14", 24)])
def test_one_block_per_transformer_block(name, layers):
    blocks = Blocks.of(on_meta(name))
    body = tuple(f"block {i + 1}" for i in range(layers))
    assert blocks.names == ("embedding", *body, "last")
    assert set(blocks.parameters("embedding")) == {
        "visual.conv1.weight",
        "visual.class_embedding",
        "visual.positional_embedding",
        "visual.ln_pre.weight",
        "visual.ln_pre.bias",
    }
    finish = {"visual.ln_post.weight", "visual.ln_post.bias", "visual.proj"}
    assert finish < set(blocks.parameters(f"block {layers}"))
    assert blocks.parameters("last") == ("head.weight", "head.bias")


def test_first_and_last_three():
    blocks = Blocks.of(on_meta("b-16"))
    for name, span in (("first_three", "block 1:block 3"), ("last_three", "block 10:block 12")):
        chosen, expected = blocks.select(name), blocks.select(span)
        assert chosen.parameters == expected.parameters and chosen.front == expected.front


@pytest.mark.parametrize("name", ["tiny", "b-16", "l-14"])
def test_grouped_as_in_table_7(name):
    grouped = on_meta(name, grouped=True)
    blocks, fine = Blocks.of(grouped), Blocks.of(on_meta(name))
    assert blocks.names == ("first layers", *(f"block {i}" for i in (1, 2, 3, 4)), "last")
    assert blocks.parameters("first layers") == fine.parameters("embedding")
    assert set(blocks.parameters("last")) == {
        "visual.ln_post.weight",
        "visual.ln_post.bias",
        "visual.proj",
        "head.weight",
        "head.bias",
    }
    length = TOWERS[name].layers // 4
    second = blocks.parameters("block 2")
    assert set(second) == set(fine.select(f"block {length + 1}:block {2 * length}").parameters)
    assert not grouped.tensor_lists()


PEAK = """
import resource, sys
import torch
import torch.nn.functional as F
from surgicalft.blocks import Blocks
from surgicalft.freezing import freeze, trainable
from surgicalft.models.networks import build
from surgicalft.evaluate import ImageForm
from surgicalft.memory import Memory
from surgicalft.reuse import Answering
from surgicalft.trial import find_plan

selection, path = sys.argv[1:]
network = build("clip-vit-b-16", 10, seed=0).train()
chosen = Blocks.of(network).select(selection)
freeze(network, chosen)
images = torch.randint(0, 256, (32, 3, 224, 224), dtype=torch.uint8)
inputs = (images / 255,)
run = network
if path == "memory":
    plan = find_plan(network, chosen.parameters, inputs[0][:2])
    assert plan
    kept = Memory().outputs(plan, network, {"tune": images}, ImageForm(), "cpu")["tune"]
    run, inputs = Answering(network, plan), (inputs[0], kept[:])
optimizer = torch.optim.AdamW(trainable(network))
F.cross_entropy(run(*inputs), torch.arange(32) % 10).backward()
optimizer.step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_tuning_the_last_block_takes_half_of_full_tunings_memory_at_most():
    """Of the whole process, after one training step of ViT-B/16 on 32 images. About 1.9, 1.9 and 6.5 GB."""

    def peak(selection, path):
        command = [sys.executable, "-W", "ignore", "-c", PEAK, selection, path]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    full = peak("all", "plain")
    for path in ("plain", "memory"):
        last = peak("block 12", path)
        print(f"\nblock 12, {path}: {last / 1e9:.2f} GB of {full / 1e9:.2f} GB, {last / full:.0%}")
        assert last <= full / 2
