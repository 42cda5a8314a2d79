# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Shifts planted in one block
#
# Section 3.3, Figure 5 and Table 5 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al.,
# ICLR 2023). A shift that is known to be in one block: each tensor $t$ of that block, of root mean square $r(t)$,
# becomes
#
# $$t + s\, r(t)\, \varepsilon, \qquad \varepsilon \sim N(0, 1) \text{ in each coordinate,}$$
#
# and the images stay as they are. The paper finds that tuning the damaged block alone repairs it best, better than
# tuning all. It states neither the noise's scale nor how many images are tuned on: here the scale $s$ is such that a
# stated accuracy is left on the source's validation images, and every seed draws noise of its own.

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "cifar" and "paper" are evidence, on real images
where: str = "parameters"  # of the block, or "activations": gains and offsets of its output
data_dir: str = ""  # folder of real images; the environment's SURGICALFT_DATA if empty
device: str = "cpu"  # "cuda" where there is a GPU
seeds: list = []  # such as [0, 1, 2]; the profile's if empty
jobs: int = 2  # runs at a time; results do not depend on it
progress: bool = True  # bars on standard error

# %%
from IPython.display import Image, Markdown, display

from surgicalft.planted_studies import get_planted_study
from surgicalft.report.experiment import Experiment
from surgicalft.report.planted import comparisons, damage_table, repair_table
from surgicalft.report.planted_figures import which_repairs

tag = "" if where == "parameters" else where  # other runs, other figures
options = (profile, data_dir, device, jobs, progress, tag)
experiment = Experiment.begin("07_planted_shifts", *options)
runs = get_planted_study(profile).runs(seeds, where)
display(Markdown(experiment.headline(runs)))

# %% [markdown]
# ## The damage
#
# `scale`: $s$ above; `left`: accuracy on the source's validation images, where the level was set; `accuracy`: on the
# target's test images, before tuning (± binomial error).

# %%
records = experiment.run(runs)
failed = [record for record in records if record.status == "failed"]
assert not failed, failed[0].error
about = experiment.company(records)
display(Markdown(experiment.table(damage_table(records), about, "damage")))

# %%
# The networks before any damage, on their own source's test images
display(Markdown(experiment.sources(runs, about)))

# %% [markdown]
# ## Figure 5: which block repairs which damage?
#
# Every block, all of them, and Auto-RGN, tuned on a few images like the source's. Learning rate and epoch are those
# of the highest accuracy on validation images (rule `target_valid`); the test images are read once per run and
# choose nothing. `auto-rgn code` is the authors' code, which leaves normalisations alone.

# %%
table = repair_table(records)
display(Markdown(experiment.table(table, about)))

# %%
display(Image(experiment.figure(which_repairs(table, profile))))

# %% [markdown]
# ## Does the damaged block win?
#
# Against tuning all, and against the best of the other blocks, paired by seed. `z` counts errors, the larger of the
# standard error over seeds and of the binomial one; a difference counts from two on, within that the two are level.

# %%
compared = comparisons(records)
blocks = compared[compared["question"].str.startswith("the damaged block")]
display(Markdown(experiment.table(blocks, about, "verdicts")))

# %% [markdown]
# ## Table 5: full fine-tuning against Auto-RGN
#
# The paper's differences stand beside ours; its noise, its number of images and its source model are others.

# %%
five = table[table["selection"].str.match("all|auto-rgn") & (table["damaged"] != "none")]
experiment.table(five, about, "table5")
auto = compared[compared["question"].str.startswith("auto-rgn")]
display(Markdown(experiment.table(auto, about, "auto-rgn")))

# %% [markdown]
# ## The claim
#
# Damage is repaired where it is: no other block tuned alone beats the damaged one, and tuning all does not beat it in
# most cases. Whether the damaged block beats all stands above, hit or miss.

# %%
others = blocks[blocks["question"].str.endswith("other block")]
whole = blocks[blocks["question"].str.endswith("all")]
assert (others["winner"] != others["b"]).all(), f"another block repairs better:\n{others}"
assert (whole["winner"] == "all").mean() < 0.5, f"tuning all repairs better:\n{whole}"
display(blocks.groupby("question")["winner"].value_counts().rename("cases").to_frame())
