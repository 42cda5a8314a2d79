# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What shifts?
#
# Figure 1 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023). A network
# was trained on a source, $P_\mathrm{src}(x, y)$; the target, $P_\mathrm{trg}(x, y)$, departs from it in one respect:
#
# - **input**: the images look different, what they show stays (corruptions),
# - **feature**: the same classes, other kinds of members (subpopulations),
# - **output**: the same images mean something else, or a cue that gave them away no longer does,
# - **natural**: data from elsewhere, where several of these happen at once.
#
# To see which of these touches the inputs at all, a linear rule on simple statistics of the image learns to tell target
# from source: 50 % says that $P(x)$ is the same as far as that rule can see, 100 % that every image gives itself away.

# %% tags=["parameters"]
profile: str = "embedded"  # drawn on the spot; "cifar" and "paper" show real images
scenarios: list = []  # such as ["glyphs-c/fog/3", "glyphs-ink"]; the profile's if empty
data_dir: str = ""  # folder of real images; the environment's SURGICALFT_DATA if empty
count: int = 5  # images of each scenario's source and target

# %%
from IPython.display import Image, Markdown, display

from surgicalft.paths import data_dir as find_data
from surgicalft.paths import project_dir
from surgicalft.profiles import EXAMPLES, get_profile
from surgicalft.report.examples import shift_examples, shift_table
from surgicalft.report.markdown import markdown
from surgicalft.report.style import save
from surgicalft.report.tables import write_table

evidence = get_profile(profile).evidence
names = tuple(scenarios) or EXAMPLES[profile]
folder = find_data(data_dir)
stem = project_dir("figures", "00_shifts") / profile
status = "Real images" if evidence else "Embedded glyphs: a demonstration, not the paper's data"
display(Markdown(f"**Profile `{profile}`.** {status}."))

# %%
display(Image(save(shift_examples(names, folder, count, profile), stem)))

# %% [markdown]
# ## How far apart are the inputs?
#
# `told apart`: share of held-out images (half source, half target) that a ridge regression on local means and
# local textures assigns to the right side (%); `error` is its binomial standard error at 50 %.

# %%
table = shift_table(names, folder)
about = {
    "profile": profile,
    "evidence": evidence,
    "rule": "ridge regression on 8 x 8 cells",
    "seed": 0,
}
write_table(table, stem, about)
display(Markdown(markdown(table, about)))

# %% [markdown]
# ## The claim
#
# Corruptions and scanners change the inputs, so that they can be told apart; a shift of the output alone does not:
# its inputs look like the source's, to within what chance allows (three standard errors).

# %%
apart = table.set_index("kind")["told apart"] - 50
chance = 3 * table.set_index("kind")["error"]
moved, still = (
    table["kind"].isin(["input", "natural"]).to_numpy(),
    table["kind"].eq("output").to_numpy(),
)
relabelled = still & table["scenario"].str.contains("flip|glyphs").to_numpy()
assert (apart[moved] > chance[moved]).all(), table
assert (apart[relabelled] < chance[relabelled]).all(), table
display(table.groupby("kind")["told apart"].agg(["min", "max"]).round(1))
