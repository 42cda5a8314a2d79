# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which block should be tuned?
#
# Figures 2 and 4 (left) of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al.,
# ICLR 2023). A network was trained on a source; a few labelled images of a shifted target are at hand. With
# $\theta_1 \dots \theta_n$ the parameters of its blocks and $\hat L$ the cross-entropy on these images, tuning
# the blocks in $S$ solves (Eq. 1)
#
# $$\min_{\theta_i,\; i \in S} \hat L(\theta_1, \dots, \theta_n), \qquad \theta_j \text{ fixed at its
# pre-trained value for } j \notin S .$$
#
# The paper finds that one block often beats all of them, and that the kind of shift says which: the first for
# changes of the input (corruptions), a middle one for changes of features (new subpopulations), the last for
# changes of the output (labels).

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "cifar" and "paper" are evidence, on real images
scenario: str = ""  # one scenario instead of the profile's, such as "glyphs-c/fog/3"
data_dir: str = ""  # folder of real images; the environment's SURGICALFT_DATA if empty
device: str = "cpu"  # "cuda" where there is a GPU
seeds: list = []  # such as [0, 1, 2]; the profile's if empty
jobs: int = 2  # runs at a time; results do not depend on it
curve: bool = True  # also Figure 4, left: accuracy against the number of target images
epochs: int = 0  # the profile's if 0
progress: bool = True  # bars on standard error

# %%
from IPython.display import Image, Markdown, display

from surgicalft.profiles import image_count_runs, which_block_runs
from surgicalft.report.claims import best_block
from surgicalft.report.experiment import Experiment
from surgicalft.report.figures import accuracy_against_images, which_block
from surgicalft.report.tables import summary

experiment = Experiment.begin("03_which_block", profile, data_dir, device, jobs, progress)
chosen = experiment.profile
more = {"epochs": epochs} if epochs else {}
scenarios = (scenario,) if scenario else chosen.scenarios
runs = which_block_runs(chosen, scenarios, tuple(seeds), **more)
display(Markdown(experiment.headline(runs)))

# %% [markdown]
# ## Figure 2: every block, one at a time
#
# For each selection and learning rate: Adam on the target's tuning images, normalisation statistics as they
# were. The epoch and the learning rate are those of the highest accuracy on the target's validation images
# (rule `target_valid`); the test images are read once per run and choose nothing. `none` is the network as it was.

# %%
records = experiment.run(runs)
about = experiment.company(records)
display(Markdown(experiment.table(summary(records, pool=True), about)))

# %%
# The networks that the runs start from, on their own source's test images
display(Markdown(experiment.sources(runs, about)))

# %%
figure = which_block(summary(records), profile=profile)
display(Image(experiment.figure(figure)))

# %% [markdown]
# ## Does one block beat all?
#
# The block is chosen by validation accuracy, as the paper's "Cross-Val" does, and compared with tuning all on
# the same seeds. A difference counts from two standard errors on; within that the two are level.

# %%
verdicts = best_block(records)
display(Markdown(experiment.table(verdicts, about, "verdicts")))

# %% [markdown]
# ## Figure 4, left: how many target images?

# %%
if curve:
    count_scenario = scenario or chosen.count_scenario
    curve_runs = image_count_runs(chosen, count_scenario, tuple(seeds), **more)
    curve_records = experiment.run(curve_runs)
    curve_table = summary(curve_records)
    experiment.table(curve_table, experiment.company(curve_records), "images")
    figure = accuracy_against_images(curve_table, profile=profile)
    display(Image(experiment.figure(figure, "images")))

# %% [markdown]
# ## The claim
#
# The kind of shift says which block: the one that validation chooses for a changed input lies in front of the one
# it chooses for changed labels, and tuning it helps. Whether it also beats tuning everything is in the table above,
# hit or miss.

# %%
failed = [record for record in records if record.status == "failed"]
assert not failed, failed[0].error
untuned = summary(records).query("selection == 'none'").set_index("scenario")["mean"]
gains = verdicts.set_index("scenario")["block accuracy"] - untuned
assert (gains > 0).all(), f"tuning the chosen block does not help:\n{gains}"
first, last = (verdicts.query("kind == @kind")["position"] for kind in ("input", "output"))
assert first.empty or last.empty or first.max() < last.min(), f"no such order:\n{verdicts}"
display(verdicts.groupby("kind")["chosen block"].agg(lambda names: ", ".join(sorted(set(names)))))
