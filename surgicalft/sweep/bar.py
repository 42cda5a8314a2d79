"""Progress of a sweep, with a remaining time that only runs of this sweep speak for."""

import time
from collections.abc import Mapping

from tqdm import tqdm

from surgicalft.sweep.record import Record


class Bar:
    """Progress over all runs asked for; those in the store count as done from the start.

    What remains is estimated as (runs left) / (runs done here since the first began) x (time since then): runs that
    were in the store took no time and say nothing, and what runs side by side is counted as it came out.
    """

    def __init__(self, stored: Mapping[str, Record], missing: int, shown: bool) -> None:
        self._stored, self._missing, self._done = len(stored), missing, 0
        self._failed = sum(record.status == "failed" for record in stored.values())
        self._start = time.monotonic()
        self._bar = tqdm(
            total=self._stored + missing,
            initial=self._stored,
            disable=not shown,
            desc="runs",
            unit="run",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )
        self._tell()

    def advance(self, record: Record) -> None:
        """One more is done."""
        self._failed += record.status == "failed"
        self._done += 1
        self._tell()
        self._bar.update()

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()

    def remaining(self) -> float | None:
        """Seconds; None before a run has finished."""
        if not self._done:
            return None
        return (self._missing - self._done) / self._done * (time.monotonic() - self._start)

    def _tell(self) -> None:
        left = self.remaining()
        text = {"left": tqdm.format_interval(left)} if left is not None else {}
        counts = {"stored": self._stored, "failed": self._failed}
        self._bar.set_postfix({**text, **counts}, refresh=False)
