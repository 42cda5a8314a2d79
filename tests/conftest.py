"""What all tests share: a cache of their own, the marker of the benchmarks, and the folder of real data."""

import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


def pytest_configure(config: pytest.Config) -> None:
    """Downloads, decoded images and source models are kept in the checkout, not in the user's cache."""
    os.environ.setdefault("SURGICALFT_CACHE", str(config.rootpath / ".pytest_cache" / "surgicalft"))


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if BENCHMARKS in item.path.parents:
            item.add_marker("benchmark")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; skips where the environment names none."""
    folder = os.environ.get("SURGICALFT_DATA")
    if not folder:
        pytest.skip("SURGICALFT_DATA names no folder of real data")
    return Path(folder)
