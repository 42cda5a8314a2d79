"""Tables 2 and 9 from records whose every image is known."""

import math

import pytest
from stream_records import adapted, drawn

from surgicalft.report.paper import TABLES
from surgicalft.report.stream_rows import (
    UNCHANGED,
    Row,
    family,
    in_order,
    paper,
    paper_gain,
    stream,
    title,
)
from surgicalft.report.streams import company_notes, stream_table, wide_table
from surgicalft.report.tables import read_table, write_table

RESNET, RVT = "memo-resnet26-gn", "rvt-small-imagenet"
SELECTIONS = {"All": "all", "Layer 1": "first_layer", "Layer 1-2": "first_2_layers"}
SELECTIONS |= {"Block 1-2": "block 1", "Block 1": "block 1", "Last": "last"}


def one(frame, **values):
    """The only row with these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


@pytest.mark.parametrize(("number", "model"), [(9, RESNET), (10, RVT)])
def test_every_row_of_the_paper_is_found_by_its_selection(number, model):
    data = {9: "cifar10-lossless-c", 10: "imagenet-c"}[number]
    for (name, corruption), cell in TABLES[number].cells.items():
        mode, _, label = name.partition(" ")
        row = UNCHANGED if name == "No adaptation" else Row(mode.lower(), "memo", SELECTIONS[label])
        assert row.name(model) == name
        assert paper(row, model, f"{data}/{corruption}") == cell
        assert paper(row, model, f"{data}/{corruption}/5") == cell


@pytest.mark.parametrize(
    ("row", "model", "scenario"),
    [
        (Row("online", "memo", "all"), RESNET, "cifar10-c/fog/3"),
        (Row("online", "memo", "all"), RESNET, "cifar10-c/glass_blur"),
        (Row("online", "memo", "all"), RESNET, "glyphs-c/fog"),
        (Row("online", "memo", "all"), RESNET, "cifar10-flip"),
        (Row("online", "memo", "all"), RVT, "cifar10-c/fog"),
        (Row("online", "memo", "all"), "resnet50", "imagenet-c/fog"),
        (Row("online", "memo", "block 2"), RESNET, "cifar10-c/fog"),
        (Row("online", "tent", "all"), RESNET, "cifar10-c/fog"),
        (Row("online", "memo", "all", reset=True), RESNET, "cifar10-c/fog"),
    ],
)
def test_the_paper_has_no_value_for(row, model, scenario):
    assert paper(row, model, scenario) is None
    assert math.isnan(paper_gain(row, model, scenario))


def test_names_of_rows_and_streams():
    assert Row("online", "tent", "norms").name(RESNET) == "Online TENT (norms)"
    assert Row("online", "memo", "all", reset=True).label(RESNET) == "All, reset"
    assert Row("episodic", "memo", "block 2").label(RESNET) == "block 2"
    assert paper_gain(Row("online", "memo", "first_layer"), RESNET, "cifar10-c/fog") == 7.61
    assert stream(500, "cifar10-jpeg-c/fog") == "500 of 9,000"
    assert stream(9000, "cifar10-c/fog") == "9,000" and stream(300, "glyphs-c/fog") == "300"
    assert stream(1999, "imagenet-c/fog") == "1,999 of 2,000"
    assert family("cifar10-c/fog/3") == "cifar10-c/*/3" and family("glyphs-case") is None
    names = ["a-c/*", "a-c/snow", "a-c/zoom_blur", "a-c/fog", "a-c/blob", "b"]
    assert in_order(names) == ["a-c/fog", "a-c/snow", "a-c/blob", "a-c/zoom_blur", "a-c/*", "b"]
    assert [title(n) for n in ("a-c/zoom_blur/3", "a-c/*", "b")] == ["zoom blur 3", "mean", "b"]


def test_a_difference_is_paired_image_by_image():
    """Ten images, of which adaptation mends two and spoils one."""
    row = one(
        stream_table([adapted("1110000000", "none"), adapted("1101100000", "first_layer")]),
        name="Online Layer 1",
    )
    assert row["accuracy"] == pytest.approx(40)
    assert row["accuracy_error"] == pytest.approx(math.sqrt(40 * 60 / 10))
    assert row["gain"] == pytest.approx(10)
    # Differences: +1, +1, -1 and seven 0; their mean is 0.1, their variance (3 - 10 * 0.01) / 9.
    assert row["gain_error"] == pytest.approx(100 * math.sqrt(2.9 / 9 / 10))
    assert math.isnan(row["gain_seed_error"]) and math.isnan(row["over_all"])
    assert (row["n_test"], row["stream"], row["n"], row["seeds"]) == (10, "10", 1, (0,))


def test_all_of_the_same_mode_is_what_a_selection_is_compared_with():
    records = [
        adapted("1111100000", "all", "online"),
        adapted("1111111000", "all", "episodic"),
        adapted("1111110000", "last", "online"),
        adapted("1111111000", "last", "episodic"),
        adapted("1111000000", "norms", "online", method="tent"),
    ]
    table = stream_table(records).set_index("name")
    expected = {"Online Last": 10, "Episodic Last": 0, "Online TENT (norms)": -10}
    assert table["over_all"].dropna().to_dict() == pytest.approx(expected)
    assert table.loc["Episodic Last", "over_all_error"] == 0
    assert table["gain"].isna().all()  # nothing to be relative to


def test_several_seeds():
    records = [
        adapted(text, name, seed=seed)
        for seed, texts in enumerate((("1100", "1110"), ("1000", "1110"), ("1000", "1000")))
        for text, name in zip(texts, ("none", "all"), strict=True)
    ]
    row = one(stream_table(records), label="All")
    assert (row["accuracy"], row["n"], row["seeds"]) == (pytest.approx(175 / 3), 3, (0, 1, 2))
    assert row["accuracy_seed_error"] == pytest.approx(math.sqrt((2 * 50**2 / 3) / 2 / 3))
    assert row["accuracy_error"] == pytest.approx(math.sqrt(75 * 25 / 4))
    assert row["gain"] == pytest.approx((25 + 50 + 0) / 3)
    assert row["gain_seed_error"] == pytest.approx(25 / math.sqrt(3))


def test_means_over_corruptions_of_the_same_images():
    """Each image's mean over the scenarios is one value: errors know that images are shared."""
    fog, snow = "cifar10-lossless-c/fog", "cifar10-lossless-c/snow"
    records = [
        adapted("1100", "none", scenario=fog, model=RESNET),
        adapted("1000", "none", scenario=snow, model=RESNET),
        adapted("1110", "all", scenario=fog, model=RESNET),
        adapted("1100", "all", scenario=snow, model=RESNET),
        adapted("1110", "last", scenario=fog, model=RESNET),
    ]
    table = stream_table(records)
    mean = one(table, name="Online All", n_scenarios=2)
    assert mean["scenario"] == "cifar10-lossless-c/*"
    assert mean["accuracy"] == pytest.approx(62.5)  # of the images 100, 100, 50, 0
    assert mean["accuracy_error"] == pytest.approx(math.sqrt(6875 / 3 / 4))
    assert mean["gain"] == pytest.approx(25)  # 0, 50, 50, 0
    assert mean["gain_error"] == pytest.approx(math.sqrt(2500 / 3 / 4))
    assert mean["paper"] == pytest.approx((75.69 + 77.36) / 2, abs=0.005)
    assert mean["paper_gain"] == pytest.approx((75.69 - 72.0 + 77.36 - 75.9) / 2, abs=0.006)
    assert mean["paper_source"].startswith("Table 9") and mean["stream"] == "4 of 9,000"
    lacking = one(table, name="Online Last", n_scenarios=2)
    assert math.isnan(lacking["accuracy"]) and lacking["n"] == 0


def test_a_failed_run_is_counted_and_leaves_a_gap():
    table = stream_table([adapted(None, "all"), adapted("1100", "none"), adapted("1110", "last")])
    row = one(table, label="All")
    assert math.isnan(row["accuracy"]) and (row["n"], row["n_failed"], row["n_test"]) == (0, 1, 0)
    assert one(wide_table(table), parameters="Online All")["fog"] == "failed"
    assert company_notes(table)["failed runs, left out"] == "1"


def test_the_settings_chosen_are_told():
    table = stream_table(
        [adapted("10", "none"), adapted("11", "all", steps=2, learning_rate=1e-4)]
    ).set_index("name")
    settings = ["learning_rate", "steps", "weight_decay", "optimizer"]
    assert list(table.loc["Online All", settings]) == [1e-4, 2, 0.0, "sgd"]
    assert list(table.loc["No adaptation", settings]) == [0.0, 0.0, 0.0, "-"]


def paper_records(n=200):
    """Runs at the paper's own accuracies, but for the noise of `n` images."""
    records = []
    for (name, corruption), cell in TABLES[9].cells.items():
        mode, _, label = name.partition(" ")
        selection = "none" if mode == "No" else SELECTIONS[label]
        mode = "episodic" if mode == "No" else mode.lower()
        where = {"scenario": f"cifar10-lossless-c/{corruption}", "model": RESNET}
        records.append(adapted(drawn(cell.value / 100, n), selection, mode, **where))
    return records


def test_the_wide_table_has_the_papers_rows_and_columns():
    wide = wide_table(stream_table(paper_records()[::-1]))
    assert list(wide["parameters"]) == list(TABLES[9].rows)
    columns = [name.replace("_", " ") for name in TABLES[9].columns]
    assert list(wide) == ["parameters", *columns, "mean", "stream"]
    means = one(wide, parameters="Online Layer 1-2")["mean"]
    assert means.endswith("[75.5]") and set(wide["stream"]) == {"200 of 9,000"}


def test_cells_of_the_wide_table():
    where = {"scenario": "cifar10-c/fog", "model": RESNET}
    records = [
        adapted("1" * 60 + "0" * 40, "none", **where),
        adapted("1" * 70 + "0" * 30, "first_layer", **where),
        adapted("1" * 59 + "0" * 41, "norms", method="tent", **where),
    ]
    table = stream_table(records)
    assert list(wide_table(table)["fog"]) == [
        "60.0 (4.9) [72.0]",
        "70.0 (4.6) [79.6]",
        "59.0 (4.9)",
    ]
    gains = wide_table(table, "gain")
    assert list(gains["parameters"]) == ["Online Layer 1", "Online TENT (norms)"]
    assert list(gains["fog"]) == ["+10.0 (3.0) [+7.6]", "-1.0 (1.0)"]
    notes = company_notes(table, "gain")
    assert notes["streams cut short"] == "100 of 9,000 images"
    assert notes["the paper's values"].startswith("Table 9, on 9,000 images")
    assert "points" in notes["cells"]


def test_two_models_or_another_difference_do_not_fit():
    table = stream_table([adapted("10"), adapted("11", model="resnet14-bn")])
    with pytest.raises(
        ValueError, match=r"several models; keep one of \['resnet8-bn-w8', 'resnet14"
    ):
        wide_table(table)
    with pytest.raises(ValueError, match=r"one of \['accuracy', 'gain', 'over_all'\], not 'x'"):
        wide_table(table.iloc[:1], "x")


def test_the_long_table_keeps_every_digit_and_text(tmp_path):
    table = stream_table([*paper_records(30)[:4], adapted("100")])
    write_table(table, tmp_path / "long", {"profile": "embedded"})
    again = read_table(tmp_path / "long")
    numbers = ["accuracy", "gain", "gain_error", "paper", "n_test"]
    assert again[numbers].equals(table[numbers])
    assert list(again["mode"]) == list(table["mode"]) and again["seeds"].iloc[0] == (0,)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no records"),
        ([adapted("10"), adapted("11", learning_rate=1e-4)], r"differ in \{'learning_rate'"),
        ([adapted("10"), adapted("110", "none", skip=5)], r"different images, \{'skip'"),
        ([adapted("10"), adapted("110", "none")], "streams of 2 and 3 images"),
        ([adapted("1x")], "tells of 2 images"),
        ([adapted("1", "none"), adapted("0", "none", mode="episodic")], "seed 0 is there twice"),
        (
            [adapted("10", scenario="glyphs-c/fog"), adapted("110", scenario="glyphs-c/snow")],
            "not of one length",
        ),
    ],
)
def test_records_that_do_not_belong_together(records, message):
    with pytest.raises(ValueError, match=message):
        stream_table(records)
