"""How much faster than a plain PyTorch loop: ResNet-26, 15 epochs, 1,000 / 100 / 900 images.

Both sides compute the same: same batches, same accuracy epoch by epoch (asserted; at the end and to rounding in
tests/test_finetune.py). A ratio is the median over ROUNDS of plain seconds / our seconds, the two sides taking
turns in processes of their own; seconds are never asserted.
"""

import os

import pytest
from sides import median_ratio, our_run, our_sweep, plain_run, side, warm_up, warm_up_plain

from surgicalft.profiles import PAPER_LAST_RATES, PAPER_RATES, SELECTIONS

ROUNDS = int(os.environ.get("SURGICALFT_BENCHMARK_ROUNDS", "3"))
BARS = {"last": 40.0, "block 3": 4.0, "block 2": 2.0, "block 1": 1.0, "all": 1.0}
SWEEP_BAR = 4.0
POINTS = 2.0  # the accuracies of both sides may differ by rounding that tipped a few images


@pytest.fixture(scope="module")
def sides():
    with side() as plain, side() as ours:
        plain.submit(warm_up_plain).result()
        ours.submit(warm_up).result()
        yield plain, ours


@pytest.mark.parametrize("selection", BARS)
def test_one_run(benchmark, sides, selection):
    plain, ours = sides
    rate = (PAPER_LAST_RATES if selection == "last" else PAPER_RATES)[1]
    pairs = []

    def paired():
        slow = plain.submit(plain_run, selection, rate).result()
        fast = ours.submit(our_run, selection, rate).result()
        assert fast["valid"] == pytest.approx(slow["valid"], abs=POINTS)
        pairs.append((slow["seconds"], fast["seconds"]))

    benchmark.pedantic(paired, rounds=ROUNDS)
    ratio = median_ratio(pairs)
    benchmark.extra_info.update(ratio=round(ratio, 1), pairs=pairs)
    print(f"\n{selection}: {ratio:.1f}x")
    assert ratio >= BARS[selection]


def test_last_layer_over_its_rates(benchmark, sides):
    """As the protocol runs it: three rates, which share the features of the frozen network."""
    plain, ours = sides
    cells = [("last", rate) for rate in PAPER_LAST_RATES]
    pairs = []

    def paired():
        slow = plain.submit(plain_run, *cells[1]).result()
        fast = ours.submit(our_sweep, cells, 1).result()
        assert fast["valid"][1] == pytest.approx(slow["valid"], abs=POINTS)
        pairs.append((len(cells) * slow["seconds"], fast["seconds"]))

    benchmark.pedantic(paired, rounds=ROUNDS)
    ratio = median_ratio(pairs)
    benchmark.extra_info.update(ratio=round(ratio, 1), pairs=pairs)
    print(f"\nlast, three rates: {ratio:.1f}x")
    assert ratio >= BARS["last"]


def test_whole_sweep(benchmark, sides):
    """5 options x 3 learning rates. A plain run's time does not depend on the rate: one rate, times three."""
    plain, ours = sides
    rates = {name: PAPER_LAST_RATES if name == "last" else PAPER_RATES for name in SELECTIONS}
    cells = [(name, rate) for name in SELECTIONS for rate in rates[name]]
    jobs = os.cpu_count() or 1
    pairs = []

    def paired():
        slow = [plain.submit(plain_run, name, rates[name][1]).result() for name in SELECTIONS]
        fast = ours.submit(our_sweep, cells, jobs).result()
        for one, other in zip(slow, fast["valid"][1::3], strict=True):
            assert other == pytest.approx(one["valid"], abs=POINTS)
        pairs.append((3 * sum(run["seconds"] for run in slow), fast["seconds"]))

    benchmark.pedantic(paired, rounds=ROUNDS)
    ratio = median_ratio(pairs)
    benchmark.extra_info.update(ratio=round(ratio, 1), jobs=jobs, pairs=pairs)
    print(f"\nsweep: {ratio:.1f}x")
    assert ratio >= SWEEP_BAR
