"""What the notebooks on deep networks share: where runs are executed and kept, and where figures and tables go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from surgicalft.executor import Executor
from surgicalft.paths import data_dir as find_data
from surgicalft.paths import project_dir
from surgicalft.profiles import Profile, get_profile
from surgicalft.report.markdown import markdown
from surgicalft.report.sources import source_table
from surgicalft.report.style import save
from surgicalft.report.tables import company, write_table
from surgicalft.runs import Run
from surgicalft.sweep.engine import run_all
from surgicalft.sweep.record import Record
from surgicalft.sweep.store import Store

STAND_IN = "Embedded glyphs: a demonstration, not evidence for the paper"


@dataclass(frozen=True)
class Experiment:
    """One notebook's: `name` is its folder under figures/, `profile` its budget; `jobs` runs at a time."""

    name: str
    profile: Profile
    executor: Executor
    store: Store
    jobs: int = 2

    @classmethod
    def begin(
        cls,
        name: str,
        profile: str,
        data_dir: str = "",
        device: str = "cpu",
        jobs: int = 2,
        progress: bool = True,
    ) -> "Experiment":
        """From a notebook's parameters; ValueError for a profile that does not exist."""
        executor = Executor(find_data(data_dir), device, progress)
        store = Store(project_dir("results") / "runs.sqlite")
        return cls(name, get_profile(profile), executor, store, jobs)

    @property
    def status(self) -> str:
        """Whether this is evidence."""
        return "Real images" if self.profile.evidence else STAND_IN

    def headline(self, runs: Sequence[Run]) -> str:
        """What is shown, in a line of Markdown."""
        scenarios = ", ".join(dict.fromkeys(run.scenario for run in runs))
        return f"**Profile `{self.profile.name}`.** {self.status}. Scenarios: {scenarios}."

    def run(self, runs: Sequence[Run]) -> list[Record]:
        """The runs' records: from the store, or computed now."""
        progress = self.executor.progress
        prepare = self.executor.prepare
        return run_all(runs, self.store, self.executor, self.jobs, progress, prepare=prepare)

    def company(self, records: Sequence[Record]) -> dict[str, Any]:
        """What a table of these records is published with."""
        profile = self.profile
        more = {"profile": profile.name, "rule": "target_valid", "evidence": profile.evidence}
        return company(records, **more)

    def table(self, frame: pd.DataFrame, about: dict[str, Any], part: str = "") -> str:
        """Write a table with its company; the same as Markdown."""
        write_table(frame, self._stem(part), about)
        return markdown(frame, {} if part else about)

    def sources(self, runs: Sequence[Run], about: dict[str, Any]) -> str:
        """The networks that the runs start from, on their own source's test images, as `table`."""
        frame = source_table(runs, self.executor.data_dir, self.executor.device)
        return self.table(frame, about, "sources")

    def figure(self, figure: Figure, part: str = "") -> Path:
        """Write a figure; its path."""
        return save(figure, self._stem(part))

    def _stem(self, part: str) -> Path:
        folder = project_dir("figures", self.name)
        return folder / "-".join(filter(None, (self.profile.name, part)))
