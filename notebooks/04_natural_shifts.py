# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Natural shifts: which part of a vision transformer?
#
# Tables 1 and 8 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023).
# CLIP's vision transformer was tuned on a source, the hospitals of Camelyon17 or the satellite images of FMoW,
# and is tuned again, one part at a time, on a few images from elsewhere: another hospital, another continent. The
# parts are the embedding, the first or the last three transformer blocks, the last layer, or all of it; the
# optimiser is SGD (Table 1) or AdamW (Table 8).
#
# The paper finds the embedding best for Camelyon17, whose shift is one of staining and light, and late blocks
# best for FMoW, whose shift is one of what buildings look like; with AdamW the gaps are smaller.
#
# Without these data sets (`surgicalft data` says how to get them) a small transformer and `glyphs-ink`, letters
# as from another scanner, stand in for them. That shift is one of paper and ink, so it should resemble
# Camelyon17's.

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "paper" is evidence, on Camelyon17 and FMoW
data_dir: str = ""  # folder of real images and weights; the environment's SURGICALFT_DATA if empty
device: str = "cpu"  # "cuda" where there is a GPU
seeds: list = []  # such as [0, 1, 2]; the profile's if empty
jobs: int = 2  # runs at a time; results do not depend on it
epochs: int = 0  # of fine-tuning; the profile's if 0
progress: bool = True  # bars on standard error

# %%
from IPython.display import Image, Markdown, display

from surgicalft.report.claims import best_block
from surgicalft.report.experiment import Experiment
from surgicalft.report.figures import which_block
from surgicalft.report.tables import summary
from surgicalft.transformer_studies import NATURAL, get_studies, study_runs

experiment = Experiment.begin("04_natural_shifts", profile, data_dir, device, jobs, progress)
more = {"epochs": epochs} if epochs else {}
studies = get_studies(NATURAL, profile)
runs = study_runs(studies, seeds or experiment.profile.seeds, **more)
display(Markdown(experiment.headline(runs)))

# %% [markdown]
# ## Every part, one at a time
#
# The learning rate and the epoch are those of the highest accuracy on the target's validation images (rule
# `target_valid`); the test images are read once per run and choose nothing. `none` is the network as it was.

# %%
records = experiment.run(runs)
failed = [record for record in records if record.status == "failed"]
assert not failed, failed[0].error
by = ("scenario", "model", "optimizer", "n_tune", "selection")
table = summary(records, by)
about = experiment.company(records)
display(Markdown(experiment.table(table, about)))

# %%
# The networks that the runs start from, on their own source's test images
display(Markdown(experiment.sources(runs, about)))

# %%
for (model, optimizer), part in table.groupby(["model", "optimizer"], sort=False):
    figure = which_block(part, profile=profile, note=optimizer)
    display(Image(experiment.figure(figure, f"{model}-{optimizer}")))

# %% [markdown]
# ## Does one part beat all?
#
# The part is chosen by validation accuracy and compared with tuning all on the same seeds; within two standard
# errors the two are level.

# %%
verdicts = best_block(records, by=("scenario", "model", "optimizer"))
display(Markdown(experiment.table(verdicts, about, "verdicts")))

# %% [markdown]
# ## The claim
#
# On every natural shift there is a part of the network whose tuning helps, and tuning it alone is level with
# tuning all or better, for both optimisers.

# %%
untuned = table.query("selection == 'none'").set_index(["scenario", "model", "optimizer"])["mean"]
chosen_parts = verdicts.set_index(["scenario", "model", "optimizer"])
gains = chosen_parts["block accuracy"] - untuned
assert (gains > 0).all(), f"tuning the chosen part does not help:\n{gains}"
assert (chosen_parts["verdict"] != "all wins").all(), f"tuning all is better:\n{verdicts}"
display(gains.rename("gain over no tuning (points)").round(1).to_frame())
