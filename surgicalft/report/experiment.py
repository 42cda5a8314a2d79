"""What the notebooks on deep networks share: where runs are executed and kept, and where figures and tables go."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
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
from surgicalft.testtime.executor import StreamExecutor
from surgicalft.testtime.runs import StreamRun

STAND_IN = "Embedded glyphs: a demonstration, not evidence for the paper"


@dataclass(frozen=True)
class Experiment:
    """One notebook's: `name` is its folder under figures/, `profile` its budget; `jobs` runs at a time.

    `tag` tells its figures and tables from those of the same profile with other parameters. `cluster` is where runs
    are computed, see `surgicalft.sweep.engine.run_all`: the environment's SURGICALFT_CLUSTER, or this process.
    """

    name: str
    profile: Profile
    executor: Executor | StreamExecutor
    store: Store
    jobs: int = 2
    tag: str = ""
    cluster: str = ""

    @classmethod
    def begin(
        cls,
        name: str,
        profile: str,
        data_dir: str = "",
        device: str = "cpu",
        jobs: int = 2,
        progress: bool = True,
        tag: str = "",
    ) -> "Experiment":
        """From a notebook's parameters; ValueError for a profile that does not exist."""
        executor = Executor(find_data(data_dir), device, progress)
        store = Store(project_dir("results") / "runs.sqlite")
        cluster = os.environ.get("SURGICALFT_CLUSTER", "")
        return cls(name, get_profile(profile), executor, store, jobs, tag, cluster)

    @classmethod
    def begin_streams(
        cls,
        name: str,
        profile: str,
        data_dir: str = "",
        device: str = "cpu",
        progress: bool = True,
        tag: str = "",
    ) -> "Experiment":
        """For runs of test-time adaptation, as many at a time as there are threads; stopped streams go on."""
        jobs = torch.get_num_threads()
        experiment = cls.begin(name, profile, data_dir, device, jobs, progress, tag)
        where = find_data(data_dir), device, progress, project_dir("results", "streams")
        return replace(experiment, executor=StreamExecutor(*where))

    @property
    def status(self) -> str:
        """Whether this is evidence."""
        return "Real images" if self.profile.evidence else STAND_IN

    def headline(self, runs: Sequence[Run] | Sequence[StreamRun]) -> str:
        """What is shown, in a line of Markdown."""
        scenarios = ", ".join(dict.fromkeys(run.scenario for run in runs))
        return f"**Profile `{self.profile.name}`.** {self.status}. Scenarios: {scenarios}."

    def run(self, runs: Sequence[Run]) -> list[Record]:
        """The runs' records: from the store, or computed now."""
        return self._run(runs, self.jobs)

    def run_streams(self, runs: Sequence[StreamRun]) -> list[Record]:
        """The same of test-time adaptation, which is on all threads one run at a time where episodes are shared out

        among them, and a run on each thread where a stream has to wait for itself. No bit depends on how many.
        """
        episodic = [run for run in runs if run.mode == "episodic"]
        online = [run for run in runs if run.mode == "online"]
        records = self._run(episodic, 1, self.jobs) + self._run(online, self.jobs)
        found = dict(zip(episodic + online, records, strict=True))
        return [found[run] for run in runs]

    def _run(self, runs: Sequence[Any], jobs: int, threads: int = 1) -> list[Record]:
        executor: Any = self.executor  # of such runs
        how: dict[str, Any] = {"prepare": executor.prepare, "threads_per_run": threads}
        how["cluster"] = self.cluster
        return run_all(runs, self.store, executor, jobs, executor.progress, **how)

    def company(self, records: Sequence[Record], rule: str = "target_valid") -> dict[str, Any]:
        """What a table of these records is published with."""
        profile = self.profile
        more = {"profile": profile.name, "rule": rule, "evidence": profile.evidence}
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
        return folder / "-".join(filter(None, (self.profile.name, self.tag, part)))
