# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which block of your own model?
#
# *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023) finds that the kind of shift
# says which block of a network to tune: the first for changed inputs, a middle one for changed features, the last for
# changed outputs. `which_block` turns this round for a network and images of yours: it tunes every block, and what
# helps says which kind of shift you are looking at.
#
# Three things have to be there: a network (of timm, of torchvision, or any `torch.nn.Module`), trained on data that
# yours depart from; some labelled images of the new kind, a few dozen per class will do; and an hour or less.

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "cifar" and "paper" are evidence, on real images
data_dir: str = ""  # folder of real images; the environment's SURGICALFT_DATA if empty
device: str = "cpu"  # "cuda" where there is a GPU
seeds: list = [0, 1]  # each orders the batches anew
jobs: int = 2  # runs at a time; results do not depend on it
progress: bool = True  # bars on standard error

# %%
import copy

import numpy as np
import torch
from IPython.display import Image, Markdown, display
from safetensors.torch import load_file

from surgicalft import Labelled, which_block
from surgicalft.evaluate import accuracy
from surgicalft.own.example import load_example
from surgicalft.paths import data_dir as find_data
from surgicalft.paths import project_dir

# %% [markdown]
# ## What is there
#
# This notebook's own: a network that was trained on clean images, and images with splashes of paint (`embedded`) or
# hardly any contrast (`cifar`). Images are arrays of bytes, (n, channels, height, width), labels are whole numbers. A
# data set of PyTorch would do as well, or a folder with a folder of images for each class.

# %%
example = load_example(profile, find_data(data_dir), progress)
model, train, valid, test = example.model, example.train, example.valid, example.test
display(Markdown(f"**Profile `{profile}`.** {example.name}; {type(model).__name__}."))
[images.shape for images, labels in (train, valid, test)]

# %% [markdown]
# ## Every block, one at a time
#
# Each block is tuned at each learning rate for each seed, and so is everything (`all`); `none` is the network as it
# was. Validation images choose the epoch, the learning rate and the block. Test images are read once a run and choose
# nothing. Where `valid` or `test` is left out, it is drawn from `train`. Finished runs are kept in `store`: the same
# call goes on after a stop, and computes nothing that is there.

# %%
result = which_block(
    model,
    train,
    valid,
    test,
    **example.options,
    seeds=seeds,
    device=device,
    jobs=jobs,
    progress=progress,
    store=project_dir("results") / "own_model.sqlite",
    name=example.name,
)
display(result)

# %%
written = result.write(project_dir("figures", "10_your_own_model") / profile)
display(Image(written[-1]))

# %% [markdown]
# `±` is the standard error over seeds; that of a difference is the larger of the one over seeds and the binomial
# error of the test images. A difference counts from two errors on. `cost` counts forward passes, relative to tuning
# everything.
#
# ## The tuned network
#
# `save` writes the weights of the recommended block's best run, as safetensors, under the names of the plain network:
# for a model of timm `timm.create_model(name, num_classes=n).load_state_dict(load_file(path))` is all it takes. The
# model that was given stays as it was.

# %%
path = result.save(project_dir("results", "own_model") / f"{profile}.safetensors")
plain = copy.deepcopy(model)  # any network of the same architecture
plain.load_state_dict(load_file(path))
images = Labelled(torch.from_numpy(test[0]), torch.from_numpy(test[1]))
before, after = accuracy(model, images), accuracy(plain.eval(), images)
print(f"{path.name}: {before:.1f} % of the test images before, {after:.1f} % after")

# %% [markdown]
# From a shell, for a folder of images, the same is
#
# ```bash
# surgicalft which-block --model resnet18 --weights my-weights.safetensors --data my-images --output which-block
# ```
#
# ## The claim
#
# The inputs have changed, and it shows: the best part to tune lies in front of all others, and tuning it helps. The
# embedded shift is plain enough for a verdict, on real images the runs may leave it open. The weights that were saved
# are those that were reported.

# %%
assert not result.table["n_failed"].any()
table = result.table.set_index("selection")
best_part = table["valid_accuracy"].drop(["all", "none"]).idxmax()
assert best_part == table.index[0], f"not the first block:\n{table['valid_accuracy']}"
assert result.kind in (["input"] if profile == "embedded" else ["input", "unclear"]), result
gain = table["difference"][best_part] - table["difference"]["none"]
assert gain > 2 * np.hypot(*table["difference_error"][[best_part, "none"]]), table
reported = [r.test_accuracy for r in result.records if r.settings["selection"] == result.recommended]  # fmt: skip
assert after > before and np.isclose(reported, after).any(), (before, after, reported)
display(Markdown(f"**{result.explanation}**"))
