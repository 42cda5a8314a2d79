# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The right layer undoes a shift, the wrong one need not: Propositions 1 and 2
#
# Section 3.1 of *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts* (Lee et al., ICLR 2023). The
# network has two layers, $f(x) = v^\top \phi(Bx)$ with $x \in \mathbb R^d$, $B \in \mathbb R^{k \times d}$,
# $v \in \mathbb R^k$ and $\phi = \mathrm{relu}$. Pre-training has left it without source loss,
# $y_{src} = v_{pre}^\top \phi(B_{pre}\, x_{src})$. The target loss is
# $L_{trg}(B, v) = E\,(v^\top \phi(B x_{trg}) - y_{trg})^2$.
#
# - **Proposition 1.** The input shifts: $x_{trg} = A x_{src}$, $A$ invertible, $y_{trg} = y_{src}$. Some *first* layer
#   has $L_{trg}(B, v_{pre}) = 0$. There are $A$, $P_{src}$ for which no *last* layer has.
# - **Proposition 2.** The output shifts: $x_{trg} = x_{src}$, $y_{trg} = t\, y_{src}$. Some *last* layer has
#   $L_{trg}(B_{pre}, v) = 0$. There are $t$, $P_{src}$, $v_{pre}$ for which no *first* layer has.
#
# Both are checked three ways: in symbols, in exact fractions, and against an optimiser that looks for a
# contradiction. Then: how much does the wrong layer lose when the shift is not the worst one?

# %% tags=["parameters"]
profile: str = "embedded"  # "paper" runs finer grids, for a quarter of an hour
seed: int = 0  # the first of the seeds; every picture says which it used

# %%
from IPython.display import Image, display

from surgicalft.paths import project_dir
from surgicalft.report.style import save, style
from surgicalft.report.tables import write_table
from theory import adversary, proposition_figures, propositions, symbolic
from theory import wrong_first_layer as first
from theory import wrong_last_layer as last
from theory.linear_shifts import blur_condition
from theory.proposition_grids import get_grid, section_3_1_shifts

grid = get_grid(profile)
seeds = range(seed, seed + grid.n_seeds)
sign_seeds = range(seed, seed + grid.n_sign_seeds)
stem = project_dir("figures", "01_propositions") / profile
about = {"profile": profile, "seeds": list(seeds), "inputs": "Gaussian, exact population losses"}

# %% [markdown]
# ## The constructions, in symbols
#
# With $B = B_{pre} A^{-1}$, for every $x$ (Eq. 5)
#
# $$v_{pre}^\top \phi(B A x) = v_{pre}^\top \phi(B_{pre} A^{-1} A x) = v_{pre}^\top \phi(B_{pre} x) ,$$
#
# and with $v = t\, v_{pre}$ (Eq. 6)
#
# $$v^\top \phi(B_{pre} x) = t\, v_{pre}^\top \phi(B_{pre} x) .$$
#
# SymPy takes the differences of the two sides, with $k$ and $d$ left as symbols and $\phi$ opaque: neither needs a
# rectifier. The third line has relu and $A^{-1}$ written out for $k = 2$, $d = 3$. The fourth is
# $\mathrm{relu}(sz) - s\,\mathrm{relu}(z)$ for $s > 0$, which does need one, and which matters below.

# %%
residuals = {
    "Eq. 5, any k and d": symbolic.first_layer_residual(),
    "Eq. 6, any k and d": symbolic.last_layer_residual(),
    "Eq. 5, k = 2, d = 3, written out": symbolic.first_layer_residual_by_entry(2, 3),
    "relu(s z) - s relu(z), s > 0": symbolic.scale_residual(),
}
for statement, residual in residuals.items():
    print(f"{statement:34} {residual}")

# %% [markdown]
# ## The counterexamples, in symbols
#
# *Proposition 1:* $A = -I$ and $B_{pre}\, x > 0$ entrywise. All features are $\phi(-B_{pre}\, x) = 0$, so every $v$
# predicts 0:
#
# $$L_{trg}(B_{pre}, v) = E\, y^2 \quad \text{for all } v .$$
#
# *Proposition 2:* $t = -1$, $v_{pre} > 0$ and $B_{pre}\, x > 0$. Every $B$ predicts
# $p = v_{pre}^\top \phi(Bx) \ge 0$, while $y_{trg} < 0$, so
#
# $$(p - y_{trg})^2 = y_{trg}^2 + p\,(p - 2 y_{trg}) \ge y_{trg}^2 , \qquad
# L_{trg}(B, v_{pre}) \ge E\, y_{trg}^2 \quad \text{for all } B ,$$
#
# with equality where all units are dead. (The first needs $E\,y^2 > 0$ besides, which the paper's proof leaves unsaid:
# with $v_{pre}$ of both signs, $y$ can vanish.)

# %%
input_case = symbolic.last_layer_counterexample(k=2, d=2)
output_case = symbolic.first_layer_counterexample(k=2, d=2)
print("Proposition 1: prediction =", input_case.prediction, "  label =", input_case.label)
print("Proposition 2: prediction =", output_case.prediction, "  label =", output_case.label)
print(
    "    label < 0:",
    output_case.label.is_negative,
    "  p >= 0:",
    output_case.prediction.is_nonnegative,
)
print("    p (p - 2 y) >= 0:", output_case.excess.is_nonnegative)

# %% [markdown]
# ## In exact fractions
#
# Sources that put equal weight on 8 points, networks and shifts of random fractions: the population loss is a mean
# of 8 fractions. A loss of 0 is 0, not $10^{-16}$.

# %%
exact = propositions.exact_losses(grid.sizes, seeds)
by_size = exact.groupby(["instance", "tuned layer", "k", "d"])
worst = by_size.agg(instances=("seed", "size"), untuned=("untuned", "max"), tuned=("tuned", "max"))
display(worst.astype({"untuned": float}).round(2))

# %% [markdown]
# ## Against an adversary
#
# For the last layer, least squares is the global optimum over $v$. For the first layer, L-BFGS starts from $B_{pre}$
# and from random matrices. The ratio is the best loss found over the bound $E\,y_{trg}^2$: below 1 it would refute a
# proposition. That it comes down to 1 says that the bound is tight.

# %%
attacks = adversary.attack_counterexamples(grid.sizes, seeds, grid.attacks)
display(
    attacks.groupby(["instance", "tuned layer", "k", "d"])["ratio"].agg(["count", "min", "max"])
)

# %% [markdown]
# ## How much does the last layer lose under a shifted input?
#
# $A = -I$ with a one-sided source is the worst case. For Gaussian inputs, any $A$ and any network, the best last
# layer and its loss are known exactly. The rows of $[B_{pre}A;\, B_{pre}]$ have the arc-cosine kernel (Cho and
# Saul, 2009)
#
# $$K_{ij} = E\,\mathrm{relu}(b_i^\top x)\,\mathrm{relu}(b_j^\top x)
# = \frac{|b_i||b_j|}{2\pi}\,\bigl(\sin\alpha + (\pi - \alpha)\cos\alpha\bigr) , \qquad
# K = \begin{pmatrix} G & C \\ C^\top & H \end{pmatrix} ,$$
#
# $$\min_v L_{trg}(B_{pre}, v) = v_{pre}^\top \bigl( H - C^\top G^{-1} C \bigr)\, v_{pre} .$$
#
# Losses are divided by $E\,y^2$: 1 is the network that is 0 everywhere. First the shifts that section 3.1 names, on
# 4 x 4 patches, and two of condition number 1 beside them.

# %%
named = last.named_shifts(section_3_1_shifts(h=4, seed=seed), k=32, seeds=seeds)
table = last.over_seeds(named)
write_table(table, f"{stem}-named", about)
columns = ["shift", "condition", "untuned_median", "last_layer_median", "first_layer_median"]
display(table[columns].round(6))

# %% [markdown]
# Brightness, as $A = sI$ with $s > 0$, is in the class of Proposition 1, but *either* layer undoes it: relu is
# positively homogeneous, so $v = v_{pre}/s$ does. And the condition number alone does not say what is lost:
# a rotation has 1.
#
# Next, condition numbers. A *stretch* $A = Q S Q^\top$ turns no direction by 90 degrees or more; *turn and stretch* has
# $A = U S V^\top$ with independent rotations. $S$ runs at equal ratios from $\kappa^{-1/2}$ to $\kappa^{1/2}$.
# Blur is a stretch, too: a symmetric positive definite matrix, whose condition number grows about as
# $e^{\pi^2 \sigma^2}$.

# %%
by_condition = last.by_condition(grid.conditions, grid.widths, grid.d, seeds)
by_blur = last.by_blur(grid.sigmas, grid.rhos, grid.patch_width, grid.patch, seeds)
write_table(last.over_seeds(by_condition), f"{stem}-condition", about)
write_table(last.over_seeds(by_blur), f"{stem}-blur", about)
with style():
    figure = proposition_figures.wrong_last_layer(by_condition, by_blur)
    shown = save(figure, f"{stem}-last-layer")
display(Image(shown))

# %% [markdown]
# Where the turn matters more than the stretch, width helps: with $k \gg d$ the untouched features are rich enough to
# fit the shifted target. The counterexample is immune to that, since all its features are dead.
#
# Panel d is a caution about the proposition itself. Blur is invertible for every $\sigma$, but not for long in floating
# point: once the condition number passes $10^{16}$, nothing of $A^{-1}$ survives rounding.

# %%
for sigma in (0.4, 1, 2, 3, 6):
    print(
        f"sigma = {sigma:<3}  condition number on 32 x 32 pixels: {blur_condition(sigma, 32):.3g}"
    )

# %% [markdown]
# ## How much does the first layer lose under a scaled output?
#
# For $t \ge 0$ nothing: $B = t B_{pre}$ does it, by homogeneity again. For $t < 0$ only the signs of $v_{pre}$ matter,
# since $|v_i|$ can be moved into row $i$ of $B$. Let $k_+$ of its entries be positive and $k_-$ negative.
#
# - $k_+ = k_-$: **nothing** is lost. Units swap roles in pairs:
#   $b_i' = |t|\,\frac{|v_j|}{|v_i|}\, b_j$ gives
#   $v_i\,\mathrm{relu}(b_i'^\top x) = t\, v_j\,\mathrm{relu}(b_j^\top x)$ where $v_i$, $v_j$ have opposite signs.
# - $k_+ \ne k_-$ and the rows of $B_{pre}$ independent: something is lost. With
#   $M = \sum_i v_i\, b_i b_i^\top / |b_i|$, $M'$ that of the target and $D = M - M'$, the parts of degree 0 and 2 of
#   the Hermite expansion give
#   $$L_{trg} \ge \frac{\|D\|_F^2}{4\pi} + \frac{(\mathrm{tr} D)^2}{2\pi} ,$$
#   and $M$ has at most $k_+$ positive and $k_-$ negative eigenvalues, while $M' = -|t| M_{pre}$ has $k_-$ and $k_+$.
# - all of one sign: everything, as in the paper's counterexample.

# %%
by_share = first.by_share(grid.signed, grid.signed, sign_seeds, grid.restarts)
share_table = last.over_seeds(by_share, ("bound", "best", "swap"))
write_table(share_table, f"{stem}-signs", {**about, "seeds": list(sign_seeds)})
with style():
    figure = proposition_figures.wrong_first_layer(by_share)
    shown = save(figure, f"{stem}-first-layer")
display(Image(shown))

# %% [markdown]
# So Proposition 2's counterexample is the end of a scale whose middle is harmless: a network initialised with signs at
# random has about as many of one as of the other, and little is out of its first layer's reach.
#
# ## The claims

# %%
assert all(residual == 0 for residual in residuals.values())
assert input_case.prediction == 0 and output_case.prediction.is_nonnegative
assert output_case.label.is_negative and output_case.excess.is_nonnegative

assert (exact["tuned"] == 0).all() and (exact["untuned"] > 0).any()
assert (attacks["ratio"] >= 1 - 1e-12).all() and (attacks["bound"] > 0).all()

wrong = table.set_index("shift")["last_layer_median"]
assert (
    wrong.filter(like="brightness").max()
    < 1e-12
    < wrong.drop(wrong.filter(like="brightness").index).min()
)
stretches = last.over_seeds(by_condition.query("shift == 'stretch'")).groupby("k")[
    "last_layer_median"
]
assert stretches.min().max() < 1e-12 and stretches.apply(lambda x: x.is_monotonic_increasing).all()
turns = by_condition.query("shift == 'turn and stretch' and condition == 1")
assert turns["last_layer"].min() > 1e-3  # of condition number 1, and something is lost
assert by_condition["first_layer"].max() < 1e-12

assert (by_share["bound"] <= by_share["best"] + 1e-12).all()
assert (by_share["best"] <= by_share["swap"]).all()
assert by_share.query("share == 0.5")["best"].max() < 1e-12
assert by_share.query("share in (0, 1)")[["bound", "best"]].sub(1).abs().max().max() < 1e-12
others = by_share.query("share not in (0, 0.5, 1)")
print(
    f"Either construction leaves exactly 0 on {len(exact)} instances; the adversary's best losses are "
    f"{attacks['ratio'].min():.9f} to {attacks['ratio'].max():.9f} of the bound.\n"
    f"With t < 0 the first layer loses between {others['bound'].min():.1e} and {others['best'].max():.2f} "
    "where signs are unequal but mixed."
)
