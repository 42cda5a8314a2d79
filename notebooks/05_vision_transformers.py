# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A vision transformer in six parts
#
# Table 7 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023): CLIP's
# ViT-B/16, trained on the source subpopulations of Living-17, and tuned on others of the same classes (a shift of
# features). The network is cut into two first layers (patch convolution and normalisation, with the embeddings),
# four groups of transformer blocks, and two last layers (normalisation and classifier). The paper finds the third
# group best, 86.1 %, with tuning all at 77.3 and no tuning at 65.6.
#
# Without ImageNet a small transformer stands in, on `glyphs-case` (capitals to small letters, a shift of
# features).

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "cifar" and "paper" are evidence, on real images
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
from surgicalft.transformer_studies import FEATURES, get_studies, study_runs

experiment = Experiment.begin("05_vision_transformers", profile, data_dir, device, jobs, progress)
more = {"epochs": epochs} if epochs else {}
studies = get_studies(FEATURES, profile)
runs = study_runs(studies, seeds or experiment.profile.seeds, **more)
display(Markdown(experiment.headline(runs)))

# %% [markdown]
# ## Every group of blocks, one at a time
#
# AdamW on the target's tuning images, except in the paper's own recipe, which has Adam. The learning rate and the
# epoch are those of the highest accuracy on the target's validation images (rule `target_valid`); the test images
# are read once per run and choose nothing. `none` is the network as it was.

# %%
records = experiment.run(runs)
failed = [record for record in records if record.status == "failed"]
assert not failed, failed[0].error
table = summary(records)
about = experiment.company(records)
display(Markdown(experiment.table(table, about)))

# %%
# The networks that the runs start from, on their own source's test images
display(Markdown(experiment.sources(runs, about)))

# %%
display(Image(experiment.figure(which_block(table, profile=profile))))

# %% [markdown]
# ## Does one group beat all?
#
# The group is chosen by validation accuracy and compared with tuning all on the same seeds; within two standard
# errors the two are level. `as the paper`: whether it is one that the kind of shift points to.

# %%
verdicts = best_block(records)
display(Markdown(experiment.table(verdicts, about, "verdicts")))

# %% [markdown]
# ## The claim
#
# The idea carries over from convolutions to transformers: some group of blocks, tuned alone, helps on every
# scenario. Which one it is, and whether it beats tuning all, stands in the table above, hit or miss.

# %%
untuned = table.query("selection == 'none'").set_index("scenario")["mean"]
gains = verdicts.set_index("scenario")["block accuracy"] - untuned
assert (gains > 0).all(), f"tuning the chosen group does not help:\n{gains}"
display(gains.rename("gain over no tuning (points)").round(1).to_frame())
