# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does Auto-RGN find the damage?
#
# Section 4.3 and Figure 6 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023).
# Auto-RGN gives each tensor $\theta_i$ a share of the learning rate, before every epoch (Eq. 3):
#
# $$w_i = \frac{\mathrm{RGN}_i}{\max_j \mathrm{RGN}_j}, \qquad \mathrm{RGN}_i = \frac{\|g_i\|_2}{\|\theta_i\|_2} .$$
#
# With noise in one block (notebook 07), the paper finds the weights higher in that block than in the others. But
# some block has the highest weights in a network without damage, too: that is the control here.

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

from surgicalft.planted_studies import AUTO, get_planted_study
from surgicalft.report.experiment import Experiment
from surgicalft.report.planted import repair_table
from surgicalft.report.planted_figures import accumulated_weights
from surgicalft.report.planted_weights import block_weights, ranked_first, tensor_weights

tag = "" if where == "parameters" else where  # other runs, other figures
options = (profile, data_dir, device, jobs, progress, tag)
experiment = Experiment.begin("08_auto_rgn_weights", *options)
study = get_planted_study(profile).runs(seeds, where)
runs = [run for run in study if run.method == AUTO or run.selection == "none"]
display(Markdown(experiment.headline(runs)))

# %% [markdown]
# ## Figure 6: accumulated weights
#
# $\sum_{\text{epochs}} w_i$ of Auto-RGN's run at the learning rate of the highest validation accuracy.

# %%
records = experiment.run(runs)
failed = [record for record in records if record.status == "failed"]
assert not failed, failed[0].error
about = experiment.company(records)
weights = tensor_weights(records)
by = ["model", "option", "position", "block", "tensor"]
experiment.table(weights.pivot_table("weight", by, "damaged").reset_index(), about, "tensors")
display(Image(experiment.figure(accumulated_weights(weights, profile))))

# %% [markdown]
# ## Is the damaged block ranked first?
#
# `weight`: the mean of $w_i$ over epochs and over the tensors of the damaged block that ever learn; `difference`: that
# minus the mean of the other blocks'. `first`: in how many seeds (%) the damaged block has the largest; `undamaged
# first`: in how many it has that in the network without damage. `lift`: weight relative to that network's; `lift
# first`: in how many seeds that is the largest. By chance, one block of four is first in 25 %.

# %%
experiment.table(block_weights(weights), about, "blocks")
ranks = ranked_first(weights)
display(Markdown(experiment.table(ranks, about)))

# %% [markdown]
# ## The claim
#
# Auto-RGN repairs every damage to a part, without being told where it is. Whether its weights point there, and do so
# more often than without damage, stands above, hit or miss.

# %%
table = repair_table(records).set_index(["model", "damaged", "selection"])["mean"]
hurt = table.drop("none", level="damaged").unstack("selection")
gains = hurt.drop(columns="none").sub(hurt["none"], axis=0)
assert (gains.min(axis=1) > 5).all(), f"Auto-RGN does not repair:\n{gains}"
assert weights["mean_weight"].between(0, 1).all()
hits = ranks.groupby(["model", "option"])[["first", "undamaged first", "lift first"]].mean()
display(hits.round(0))
