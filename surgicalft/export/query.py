"""From records to the table that was asked for: conditions, then a rule's choice, then means over seeds."""

from collections.abc import Iterable, Sequence

import pandas as pd

from surgicalft.export.columns import check_names, is_outcome
from surgicalft.export.conditions import Condition, parse, select, select_records
from surgicalft.export.means import choose_rates, mean_over
from surgicalft.sweep.frame import to_frame
from surgicalft.sweep.record import Record


def query(
    records: Sequence[Record],
    where: Iterable[str] = (),
    rule: str | None = None,
    over: Sequence[str] = (),
    metric: str = "test_accuracy",
) -> tuple[list[Record], pd.DataFrame]:
    """The records that meet the conditions `where`, and their table: of `to_frame`, or chosen by `rule`, or means.

    Where a rule chooses or means are taken, conditions on outcomes apply to the table that comes of it, such as
    `mean>50`: to choose or average only among runs that came out well would mislead.
    Raises ValueError as `select`, `choose_rates` and `mean_over` do.
    """
    conditions = (
        [parse(text) for text in where] if records else []
    )  # of no records no name is known
    if not rule and not over:
        records = select_records(records, conditions)
        return records, to_frame(records)
    known = [name for name in to_frame(records) if not is_outcome(name)]
    records = select_records(records, [one for one in conditions if one.name in known])
    frame = choose_rates(records, rule) if rule else to_frame(records)
    if over:
        frame = mean_over(frame, over, metric)
    later = [one for one in conditions if one.name not in known]
    _check(later, frame, known)
    return records, select(frame, later)


def _check(conditions: list[Condition], frame: pd.DataFrame, known: list[str]) -> None:
    for one in conditions:
        if is_outcome(one.name) and one.name not in frame:
            raise ValueError(
                f"{one}: {one.name} is the outcome of single runs, and a mean of those that came out well would "
                f"mislead. Legal for means: {', '.join(frame)}"
            )
        check_names("column", [one.name], [*known, *(name for name in frame if name not in known)])
