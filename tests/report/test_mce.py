"""The mean corruption error against published ones, and what Table 6 divides by."""

import math

import pytest
from option_records import ROWS, run

from surgicalft.report.mce import (
    ALEXNET,
    ALEXNET_BY_SEVERITY,
    corruption_error_table,
    mean_corruption_error,
    table_6,
)
from surgicalft.report.paper import IMAGENET_C_CORRUPTIONS

# ResNet-50: accuracies (%) by corruption, means over severities, and CEs, as published with the models of Rusak et al.
# (2020, "A simple way to make neural networks robust against diverse image corruptions"); they state 76.70.
RESNET_50 = {
    "gaussian_noise": (29.29, 79.77),
    "shot_noise": (27.03, 81.58),
    "impulse_noise": (23.81, 82.58),
    "defocus_blur": (38.75, 74.71),
    "glass_blur": (26.79, 88.61),
    "motion_blur": (38.67, 78.03),
    "zoom_blur": (36.24, 79.86),
    "snow": (32.53, 77.83),
    "frost": (38.14, 74.84),
    "fog": (45.83, 66.11),
    "brightness": (68.02, 56.64),
    "contrast": (39.06, 71.43),
    "elastic_transform": (45.25, 84.75),
    "pixelate": (44.79, 76.92),
    "jpeg_compression": (53.41, 76.82),
}
# AlexNet's errors (%), means over severities, as the benchmark's repository gives them.
PUBLISHED = {
    **{"gaussian_noise": 88.6428, "shot_noise": 89.4468, "impulse_noise": 92.2640},
    **{"defocus_blur": 81.9880, "glass_blur": 82.6268, "motion_blur": 78.5948},
    **{"zoom_blur": 79.8360, "snow": 86.6816, "frost": 82.6572, "fog": 81.9324},
    **{"brightness": 56.4592, "contrast": 85.3204, "elastic_transform": 64.6056},
    **{"pixelate": 71.7840, "jpeg_compression": 60.6500},
}


def test_alexnet_s_errors_are_the_published_ones():
    assert pytest.approx(PUBLISHED) == ALEXNET
    assert set(ALEXNET) == set(IMAGENET_C_CORRUPTIONS)
    assert all(len(errors) == 5 for errors in ALEXNET_BY_SEVERITY.values())


def test_a_published_mce_follows_from_its_published_accuracies():
    errors = {name: 100 - accuracy for name, (accuracy, _) in RESNET_50.items()}
    assert mean_corruption_error(errors) == pytest.approx(76.70, abs=0.005)
    for name, (_, expected) in RESNET_50.items():
        assert mean_corruption_error(errors, {name: ALEXNET[name]}) == pytest.approx(
            expected, abs=0.02
        )


def test_the_baseline_itself_is_100():
    assert mean_corruption_error(ALEXNET) == pytest.approx(100)
    assert mean_corruption_error({"fog": 10.0, "snow": 20.0}, {"fog": 20.0, "snow": 80.0}) == 37.5


def test_bad_errors_are_refused():
    with pytest.raises(ValueError, match=r"lack the corruptions \['fog'\]"):
        mean_corruption_error({name: 50.0 for name in ALEXNET if name != "fog"})
    with pytest.raises(ValueError, match=r"0 to 100, not \{'fog': 101.0\}"):
        mean_corruption_error({"fog": 101.0}, {"fog": 50.0})
    with pytest.raises(ValueError, match=r"0 to 100, not \{'fog': nan\}"):
        mean_corruption_error({"fog": math.nan}, {"fog": 50.0})
    with pytest.raises(ValueError, match=r"no errors on \['fog'\]"):
        mean_corruption_error({"fog": 1.0}, {"fog": 0.0})
    with pytest.raises(ValueError, match="lack"):
        mean_corruption_error({"fog": 1.0}, {})


def test_table_6_is_severity_5_over_all_severities():
    table = table_6().set_index("method")
    tuned = table.drop("No Adaptation")
    gaps = tuned["mCE (Table 6)"] - tuned["over all severities"]
    assert gaps.abs().max() < 0.7
    assert (tuned["mCE (Table 6)"] - tuned["over severity 5"]).min() > 7.5
    assert (
        table.loc["No Adaptation", "mCE (Table 6)"] == 76.7
    )  # over all severities, unlike its accuracy
    assert table.loc["No Adaptation", "over all severities"] > 100


def imagenet(severities, option="All", factor=1.0, seed=0, without=""):
    """Runs whose errors are AlexNet's at these severities, times a factor."""
    return [
        run(
            100 - factor * ALEXNET_BY_SEVERITY[name][severity - 1],
            scenario=f"imagenet-c/{name}/{severity}",
            seed=seed,
            **ROWS[option],
        )
        for name in ALEXNET
        if name != without
        for severity in severities
    ]


def test_the_mce_of_records_over_all_severities():
    (row,) = corruption_error_table(imagenet((1, 2, 3, 4, 5), factor=0.8)).to_dict("records")
    assert row["mean"] == pytest.approx(80) and row["normalised by"] == "AlexNet"
    assert (row["severities"], row["corruptions"], row["n"]) == ("1, 2, 3, 4, 5", 15, 1)
    assert math.isnan(row["paper"])  # Table 6 seems to be of severity 5


def test_at_severity_5_table_6_stands_beside():
    records = [
        record for seed in (0, 1) for record in imagenet((5,), factor=0.5 + 0.1 * seed, seed=seed)
    ]
    (row,) = corruption_error_table(records).to_dict("records")
    share = sum(e[-1] / ALEXNET[n] for n, e in ALEXNET_BY_SEVERITY.items()) / 15
    assert row["mean"] == pytest.approx(55 * share) and row["standard_error"] == pytest.approx(
        5 * share
    )
    assert (row["paper"], row["n"]) == (62.8, 2)


def test_without_a_published_baseline_it_is_relative_to_no_adaptation():
    records = [
        run(accuracy, scenario=f"glyphs-c/{name}", **ROWS[label])
        for name, label, accuracy in (
            *(("fog", "No Adaptation", 60.0), ("snow", "No Adaptation", 20.0)),
            *(("fog", "All", 90.0), ("snow", "All", 60.0)),
        )
    ] + [run(50.0, scenario="glyphs-flip")]
    table = corruption_error_table(records).set_index("option")
    assert table.loc["No Adaptation", "mean"] == 100
    assert table.loc["All", "mean"] == pytest.approx(100 * (10 / 40 + 40 / 80) / 2)
    assert set(table["normalised by"]) == {"No Adaptation"} and table["paper"].isna().all()
    with pytest.raises(ValueError, match="glyphs-c, seed 0: no run of No Adaptation"):
        corruption_error_table([r for r in records if r.settings["selection"] != "none"])


def test_missing_corruptions_are_errors():
    with pytest.raises(ValueError, match=r"lack the corruptions \['fog'\]"):
        corruption_error_table(imagenet((5,), without="fog"))
    with pytest.raises(ValueError, match=r"Auto-RGN, seed 0, lacks \['imagenet-c/fog/5'\]"):
        corruption_error_table(imagenet((5,)) + imagenet((5,), "Auto-RGN", without="fog"))
    with pytest.raises(ValueError, match=r"no scenario is a corruption: \['glyphs-case'\]"):
        corruption_error_table([run(70.0)])
    failed = [run(None, scenario="glyphs-c/fog")]
    with pytest.raises(ValueError, match="all runs of All on glyphs-c/fog failed"):
        corruption_error_table(failed)
