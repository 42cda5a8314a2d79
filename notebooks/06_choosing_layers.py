# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Choosing what to tune
#
# Tables 4 and 6 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023),
# and the question that it leaves open. One block often beats all of them (notebook 03), but which one? Cross-Val
# tunes every block and chooses by validation: reliable, and as many runs as there are blocks. Criteria that look
# at gradients want to do it in one run. Auto-RGN lets a tensor $\theta_i$ learn at a share of the learning rate
# (Eq. 3)
#
# $$\mathrm{RGN}_i = \lVert g_i \rVert_2 \,/\, \lVert \theta_i \rVert_2 , \qquad \text{scaled into } [0, 1],$$
#
# and Auto-SNR freezes tensors whose gradients $g_{ij}$ (coordinate $j$, image $i$) are mostly noise (Eq. 4),
#
# $$\mathrm{SNR}(g) = \operatorname{mean}_j \big[ (\operatorname{mean}_i g_{ij})^2 \,/\,
# \operatorname{var}_i g_{ij} \big] .$$
#
# Gradual unfreezing and L1-SP are the paper's comparisons; probing, LP-FT, norms, biases and the authors' own code
# are ours, and so are the candidates for a better criterion.

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "cifar" and "paper" are evidence, on real images
entries: str = "main"  # which rows: see ENTRIES in surgicalft/method_studies.py
model: str = ""  # another published source model, such as "memo-resnet26-gn"
data_dir: str = ""  # folder of real images; the environment's SURGICALFT_DATA if empty
device: str = "cpu"  # "cuda" where there is a GPU
seeds: list = []  # such as [0, 1, 2]; the study's if empty
jobs: int = 2  # runs at a time; results do not depend on it
progress: bool = True  # bars on standard error

# %%
from IPython.display import Image, Markdown, display

from surgicalft.method_studies import get_method_study
from surgicalft.report.bench import METHOD, accuracy_and_cost, gap_closed, readable
from surgicalft.report.experiment import Experiment
from surgicalft.report.markdown import markdown
from surgicalft.report.mce import corruption_error_table, table_6
from surgicalft.report.method_figures import accuracy_against_cost, method_dots
from surgicalft.report.methods import method_table, notes, wide_table

parts = [model, "" if entries in ("main", "short") else entries]  # other runs, other figures
options = (profile, data_dir, device, jobs, progress, "-".join(filter(None, parts)))
experiment = Experiment.begin("06_choosing_layers", *options)
study = get_method_study(profile)
runs = study.runs(entries, tuple(seeds), model)
display(Markdown(experiment.headline(runs)))

# %% [markdown]
# ## Table 4: accuracy, average rank, cost
#
# A row is the run that validation chooses among all of a method's: its learning rates, for L1-SP and Auto-SNR its
# strengths, for Cross-Val the blocks. Test images choose nothing. The average rank is the paper's: over scenarios
# (a family of corruptions is one), among its six methods of one run; beside it the rank among all such methods
# here. Costs count the floating-point operations of all these runs; full fine-tuning at all its learning rates is 1.

# %%
records = experiment.run(runs)
table = method_table(records)
about = experiment.company(records) | notes(records, table=table)
experiment.table(table, about, "long")
display(Markdown(experiment.table(wide_table(table), about)))

# %%
# The networks that the runs start from, on their own source's test images
display(Markdown(experiment.sources(runs, about)))

# %%
figure = method_dots(table, profile)
display(Image(experiment.figure(figure, "dots")))

# %% [markdown]
# ## What accuracy costs

# %%
figure = accuracy_against_cost(records, study.design, profile=profile)
display(Image(experiment.figure(figure, "cost")))

# %% [markdown]
# ## Who closes the gap between Auto-RGN and Cross-Val?
#
# A method closes the share (method − Auto-RGN) / (Cross-Val − Auto-RGN) of the gap. Asked for is half of it at no
# more than the cost of 1.5 full runs, on scenarios that the method was not designed on.

# %%
gaps = gap_closed(records, design=study.design)
experiment.table(gaps, about | {"bench": METHOD}, "bench")
display(Markdown(markdown(readable(gaps), {"how": METHOD})))

# %% [markdown]
# ## Table 6: mean corruption error
#
# The mCE divides a network's error on each corruption of ImageNet-C by AlexNet's. Table 6 does not say over which
# severities; its values fit errors of severity 5 over AlexNet's mean of all severities. Its first row is over all
# severities instead: on the others' footing it would be about 104.

# %%
display(Markdown(markdown(table_6(), {})))

# %% [markdown]
# Where there is no published AlexNet, the same formula relative to the network without adaptation (100): no mCE.

# %%
errors = corruption_error_table(records)
display(Markdown(experiment.table(errors, about, "corruption-error")))

# %% [markdown]
# ## The claim
#
# Every method beats no adaptation on the mean over scenarios, and Cross-Val is level with tuning everything or ahead of
# it (two standard errors over scenarios). Which method comes close to Cross-Val at which cost is in the tables above,
# hit or miss.

# %%
means = accuracy_and_cost(records).set_index("option")
assert means["mean"].notna().all(), f"all runs failed:\n{means[means['mean'].isna()]}"
tuned = means.drop("No Adaptation")["mean"]
assert (tuned > means.loc["No Adaptation", "mean"]).all(), f"worse than no adaptation:\n{tuned}"
lead = means.loc["Cross-Val"]
assert lead["gain"] > -2 * lead["gain_error"], f"Cross-Val is behind tuning all:\n{lead}"
display(means[["mean", "standard_error", "gain", "gain_error", "cost"]].round(2))
