# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Adapting at test time
#
# Section 2.2, Tables 2, 3, 9 and 10 and Figure 4 (right) of *Surgical Fine-Tuning Improves Adaptation to Distribution
# Shifts* (Lee et al., ICLR 2023). There are no labels: MEMO draws $n$ augmented views $\tilde x_i$ of a test image and
# makes the entropy of the mean prediction small,
#
# $$\ell(\theta; x) = H\Big( \frac 1 n \sum_{i=1}^n p_\theta(\cdot \mid \tilde x_i) \Big) , \qquad
# H(p) = - \sum_y p(y) \log p(y) ,$$
#
# then predicts that image. *Episodic*: weights and optimiser are set back after each image. *Online*: they are kept,
# so that the stream itself is learned from, and what is learned may as well be lost. Which tensors should move?

# %% tags=["parameters"]
profile: str = "embedded"  # demonstrates; "cifar" and "paper" are evidence, on real images
study: str = ""  # another than the profile's: "imagenet" (ImageNet-C, RVT*-small)
data_dir: str = ""  # folder of real images; the environment's SURGICALFT_DATA if empty
device: str = "cpu"  # "cuda" where there is a GPU
curve: bool = True  # also Figure 4, right: accuracy against the number of images seen
progress: bool = True  # bars on standard error

# %%
from IPython.display import Image, Markdown, display

from surgicalft.report.experiment import Experiment
from surgicalft.report.stream_choice import choose_for_each, choose_settings
from surgicalft.report.stream_claims import early_above_all, last_layer_alone, wears_off
from surgicalft.report.stream_curves import curve as curve_of
from surgicalft.report.stream_figures import curve_figure, stream_figure
from surgicalft.report.streams import company_notes, stream_table, wide_table
from surgicalft.stream_studies import RULE, get_stream_study

options = (profile, data_dir, device, progress, study)
experiment = Experiment.begin_streams("09_test_time", *options)
streams = get_stream_study(study or profile)
display(Markdown(experiment.headline(streams.unchanged())))

# %% [markdown]
# ## Choosing learning rates on other images
#
# Appendix A.6 chooses on 1,000 corrupted images and reports on the other 9,000: first among learning rates of
# different magnitude, then around the best one. Here too images that choose do not report. `behind` is the distance to
# the chosen setting, paired by image; `edge` says where a larger or smaller value might have been better still.

# %%
tried = experiment.run_streams(streams.first_round())
chosen = choose_settings(tried)[0] if tried else []
tried += experiment.run_streams(streams.second_round(chosen))
chosen, grid = choose_settings(tried) if tried else ([], None)
if grid is not None:
    about = experiment.company(tried, RULE)
    display(Markdown(experiment.table(grid, about, "grid")))

# %% [markdown]
# ## Tables 2 and 9: which tensors to adapt
#
# Ours (standard error) [the paper's]. Streams that are shorter than the paper's say so: online, a short stream has
# less time to learn, and less to forget.

# %%
records = experiment.run_streams(streams.reports(chosen))
table = stream_table(records)
about = experiment.company(records, RULE) | company_notes(table)
experiment.table(table, about, "long")
display(Markdown(experiment.table(wide_table(table), about)))

# %%
figure = stream_figure(table, profile=profile)
display(Image(experiment.figure(figure, "dots")))

# %% [markdown]
# The same images are seen by all, so differences to no adaptation are known better than accuracies.

# %%
gains = wide_table(table, "gain")
display(Markdown(experiment.table(gains, about | company_notes(table, "gain"), "gain")))
figure = stream_figure(table, relative=True, profile=profile)
display(Image(experiment.figure(figure, "gain")))

# %% [markdown]
# ## Figure 4, right: long streams
#
# Settings are those that were best on each scenario alone.

# %%
each = choose_for_each(tried, streams.curve_scenarios) if curve else {}
long = experiment.run_streams(streams.curves(each)) if curve else []
if long:
    curves = curve_of(long, window=max(50, long[0].n_test // 8))
    about = experiment.company(long, RULE)
    experiment.table(curves, about, "curve")
    figure = curve_figure(curves, profile=profile)
    display(Image(experiment.figure(figure, "curve")))

# %%
if long:
    whole = stream_table(long)
    about = experiment.company(long, RULE) | company_notes(whole)
    display(Markdown(experiment.table(wide_table(whole), about, "streams")))
    display(Markdown(experiment.table(wide_table(whole, "gain"), about, "streams-gain")))

# %% [markdown]
# ## The claim
#
# The last layer alone, adapted online, changes next to nothing: under five points. Whether early layers beat all, and
# what full tuning gains or loses along the stream, is said, hit or miss: it hangs on the learning rates.

# %%
failed = [r.error for r in (*records, *long) if r.status == "failed"]
assert not failed, failed[0]
memo = [r for r in records if r.settings["method"] == "memo"]
early, last = early_above_all(memo), last_layer_alone(memo)
print(early.sentence, last.sentence, sep="\n")
if long:
    print(wears_off(long, part=long[0].n_test // 4).sentence)
    print(early_above_all(long, last=long[0].n_test // 4).sentence)
assert abs(last.difference) < 5, last.sentence
