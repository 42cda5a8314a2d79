"""Records as runs of MLflow, through its own client; needs the extra `mlflow`.

A record becomes one run: params are its settings, metrics what came out (`valid_accuracy`, `test_accuracy`, ...) and,
as `history/NAME` with a step for each epoch, the numbers of its history; tags are identity, error, device, provenance
and versions. What is no number in a history, such as the shares of tensors, stays in the store.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from surgicalft.sweep.frame import leaves
from surgicalft.sweep.record import Record, to_row

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

IDENTITY, DIGEST = "surgicalft.id", "surgicalft.digest"
STATUS = {"finished": "FINISHED", "failed": "FAILED"}
NEEDED = 'MLflow is not installed: pip install "surgicalft[mlflow]"'
_OUTCOME = ("epoch", "valid_accuracy", "valid_loss", "test_accuracy", "n_test", "wall_time")
_PARAMS, _METRICS = 100, 900  # at most in one request: a server takes 100 params, and 1000 of all
_PAGE = 1000  # runs


@dataclass(frozen=True)
class Exported:
    """How many records became runs, had changed since (and replaced their run), or were there already."""

    new: int = 0
    replaced: int = 0
    unchanged: int = 0


def to_mlflow(
    records: Sequence[Record],
    uri: str,
    experiment: str = "surgicalft",
    progress: Callable[[Iterable[Record]], Iterable[Record]] = iter,
) -> Exported:
    """Make each record a run of `experiment`, which is made where there is none.

    uri: a server's `http://host:5000`, or `sqlite:///runs.db`. A record that is there, by its identity, is left as it
    is; one that has changed, such as a failed run that was repeated, or whose export was interrupted, replaces its run.
    Raises ModuleNotFoundError without the library, RuntimeError with MLflow's own reason where the export fails.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(NEEDED) from error
    try:
        client = MlflowClient(uri)
        place = _experiment(client, experiment)
        there = {run.data.tags[IDENTITY]: run for run in _runs(client, place)}
        done = [
            _export(client, place, record, there.get(record.id)) for record in progress(records)
        ]
    except (MlflowException, OSError, ImportError) as error:
        raise RuntimeError(f"MLflow at {uri}: {error}") from error
    return Exported(*(done.count(what) for what in ("new", "replaced", "unchanged")))


def _experiment(client: "MlflowClient", name: str) -> str:
    """The id of the experiment; ValueError where one of this name was deleted, which MLflow keeps."""
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage != "active":
        raise ValueError(
            f"experiment {name!r} was deleted: restore it in MLflow, or give another name"
        )
    return str(found.experiment_id)


def _runs(client: "MlflowClient", experiment: str) -> "Iterator[Run]":
    """The runs of an experiment that are records."""
    token = None
    while True:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        yield from (run for run in page if IDENTITY in run.data.tags)
        token = page.token
        if not token:
            return


def _export(client: "MlflowClient", experiment: str, record: Record, there: "Run | None") -> str:
    tags = _tags(record)
    if there is not None:
        complete = there.info.status == STATUS[record.status]
        if complete and there.data.tags.get(DIGEST) == tags[DIGEST]:
            return "unchanged"
        client.delete_run(there.info.run_id)
    end = _milliseconds(record.created)
    start = end - int(1000 * record.wall_time)
    run = client.create_run(experiment, start_time=start, tags=tags, run_name=record.id)
    _log(client, run.info.run_id, record, end)
    client.set_terminated(
        run.info.run_id, STATUS[record.status], end_time=end
    )  # last: the export is complete
    return "new" if there is None else "replaced"


def _log(client: "MlflowClient", run: str, record: Record, time: int) -> None:
    from mlflow.entities import Metric, Param

    params = [Param(name, str(value)) for name, value in leaves(record.settings).items()]
    metrics = [Metric(name, float(value), time, step) for name, value, step in _metrics(record)]
    portions = (_portions(params, _PARAMS), _portions(metrics, _METRICS))
    some: list[Param]
    more: list[Metric]
    for some, more in zip_longest(*portions, fillvalue=[]):
        client.log_batch(run, params=some, metrics=more)


def _metrics(record: Record) -> Iterator[tuple[str, float, int]]:
    """Name, value and step: what came out at step 0, the history from step 1 on."""
    outcome = {name: getattr(record, name) for name in _OUTCOME} | record.metrics
    steps = [outcome, *({f"history/{n}": v for n, v in entry.items()} for entry in record.history)]
    for step, values in enumerate(steps):
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield name, value, step


def _tags(record: Record) -> dict[str, str]:
    digest = hashlib.sha256(json.dumps(to_row(record)).encode()).hexdigest()[:16]
    known = {
        IDENTITY: record.id,
        DIGEST: digest,
        "surgicalft.status": record.status,
        "surgicalft.error": record.error,
        "surgicalft.device": record.device,
        "surgicalft.provenance": record.provenance,
        "surgicalft.created": record.created,
        **{f"surgicalft.versions.{name}": text for name, text in record.versions.items()},
    }
    return {name: text for name, text in known.items() if text}


def _milliseconds(created: str) -> int:
    """ISO 8601 as milliseconds since 1970; now where a record has no date."""
    at = datetime.fromisoformat(created) if created else datetime.now(UTC)
    return int(1000 * at.timestamp())


def _portions(items: list[Any], most: int) -> Iterator[list[Any]]:
    return (items[i : i + most] for i in range(0, len(items), most))
