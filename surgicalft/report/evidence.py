"""`python -m surgicalft.report.evidence`: the published checkpoint on real images, written to figures/."""

from surgicalft.paths import data_dir, project_dir
from surgicalft.report.sources import checkpoint_table
from surgicalft.report.tables import write_table
from surgicalft.sweep.attempt import versions

SETTINGS = {
    "model": "memo-resnet26-gn, published weights, no adaptation",
    "images": "CIFAR-10 test images, exact pixels (cifar10-lossless), corrupted by surgicalft",
    "severity": 5,
    "corruption seed": 0,
    "error": "binomial standard error of our sample, in points",
    "evidence": True,
}


def main() -> None:
    """Print the table and write it with its settings."""
    table = checkpoint_table(data_dir())
    stem = project_dir("figures", "checkpoint") / "memo-resnet26-gn"
    write_table(table, stem, {**SETTINGS, "device": "cpu", "versions": versions()})
    print(table.round(2).to_string(index=False), f"\nwritten to {stem}.md")


if __name__ == "__main__":
    main()
