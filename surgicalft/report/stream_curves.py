"""Figure 4, right: accuracy against the number of images seen, so far and among the last ones."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from surgicalft.report.stream_results import Array, Cell, Hits, cells, minus
from surgicalft.report.stream_rows import UNCHANGED, in_order, paper_images, stream
from surgicalft.sweep.record import Record

Ends = npt.NDArray[np.int64]
WINDOW = 500  # images


def curve(records: Iterable[Record], window: int = WINDOW) -> pd.DataFrame:
    """For each model, row of Table 9 and scenario a line for every so many images of the stream (50 in our records).

    `accuracy` (%) of the first `images` images, with the binomial error, and `recent` of the last `window` of them,
    NaN before there are as many. `gain` and `recent_gain` are differences to no adaptation (points), paired by image:
    error sd / sqrt(n). Of several seeds the mean, with the error of one. `reset`: the network was set back to the
    source model since the line before; `collapsed`: collapse was noticed there for the first time, of any seed.

    Raises ValueError for a window that is not in 1 to the length of the stream, for seeds that were looked at after
    different numbers of images, and as `surgicalft.report.stream_results.cells` does.
    """
    found = [cell for cell in cells(records, means=False) if cell.hits]
    none = {(c.model, c.scenario): c.hits for c in found if c.row == UNCHANGED}
    order = in_order(cell.scenario for cell in found)
    models = list(dict.fromkeys(cell.model for cell in found))
    found.sort(key=lambda c: (models.index(c.model), order.index(c.scenario), *c.row.key()))
    curves = [_curve(cell, none.get((cell.model, cell.scenario), {}), window) for cell in found]
    if not curves:
        raise ValueError("all runs failed, so there is no curve")
    return pd.concat(curves, ignore_index=True)


def running(values: Array, window: int = 0, ddof: int = 1) -> tuple[Array, Array]:
    """Mean and standard error sd / sqrt(m) of the first 1, 2, ..., n values, or of the last `window` (0: all) of them.

    values: (n,), whole numbers, whose sums are exact; both results (n,), NaN where there are fewer than `window`, the
    error also where m <= ddof.
    """
    n = len(values)
    sums, squares = (np.concatenate([[0.0], np.cumsum(values**power)]) for power in (1, 2))
    ends = np.arange(1, n + 1)
    starts = np.maximum(ends - window, 0) if window else np.zeros(n, dtype=int)
    count = (ends - starts).astype(float)
    count[count < window] = math.nan
    mean = (sums[ends] - sums[starts]) / count
    spread = np.maximum((squares[ends] - squares[starts]) / count - mean**2, 0)
    free = np.where(count > ddof, count - ddof, math.nan)
    return mean, np.sqrt(spread / free)


def _curve(cell: Cell, none: Hits, window: int) -> pd.DataFrame:
    ends = _ends(cell)
    if not 1 <= window <= ends[-1]:
        raise ValueError(f"window must be 1 to {ends[-1]}, the length of the stream, not {window}")
    gains = {} if cell.row == UNCHANGED else minus(cell.hits, none)
    first = cell.finished[0].settings
    row = cell.row
    return pd.DataFrame(
        {
            **{"model": cell.model, "mode": row.mode, "name": row.name(cell.model)},
            **{"label": row.label(cell.model), "method": row.method, "selection": row.selection},
            "with_reset": row.reset,
            **{"scenario": cell.scenario, "images": ends},
            **_columns("accuracy", cell.hits, ends, 0, ddof=0),
            **_columns("gain", gains, ends, 0),
            **_columns("recent", cell.hits, ends, window, ddof=0),
            **_columns("recent_gain", gains, ends, window),
            **{"window": window, **_events(cell, ends)},
            **{"n": len(cell.hits), "n_failed": len(cell.records) - len(cell.finished)},
            **{"n_test": int(ends[-1]), "stream": stream(int(ends[-1]), cell.scenario)},
            "paper_images": paper_images(cell.scenario),
            **{name: first[name] for name in ("learning_rate", "steps", "optimizer")},
            "device": ", ".join(sorted({record.device for record in cell.finished})),
            "provenance": "; ".join(sorted({record.provenance for record in cell.finished})),
        }
    )


def _ends(cell: Cell) -> Ends:
    """After how many images the records look at the stream."""
    looked = {tuple(w["images"] for w in record.history) for record in cell.finished}
    if len(looked) > 1:
        lengths = sorted(ends[-1] for ends in looked)
        raise ValueError(f"{cell.scenario}: seeds look at different images; streams of {lengths}")
    return np.array(looked.pop())


def _columns(
    name: str, hits: Hits, ends: Ends, window: int, ddof: int = 1
) -> dict[str, Array | float]:
    """Means over seeds of the running means; of their errors the root of the mean square."""
    if not hits:
        return {name: math.nan, f"{name}_error": math.nan}
    parts = [running(values, window, ddof) for values in hits.values()]
    mean = np.mean([mean for mean, _ in parts], axis=0)
    error = np.sqrt(np.mean([error**2 for _, error in parts], axis=0))
    return {name: mean[ends - 1], f"{name}_error": error[ends - 1]}


def _events(cell: Cell, ends: Ends) -> dict[str, Sequence[bool]]:
    """Where a seed was set back, and where its collapse was first noticed."""
    resets = [[bool(w.get("reset")) for w in record.history] for record in cell.finished]
    noticed = {
        int(np.searchsorted(ends, record.metrics["collapsed_at"]))
        for record in cell.finished
        if "collapsed_at" in record.metrics
    }
    return {
        "reset": [any(marks) for marks in zip(*resets, strict=True)],
        "collapsed": [i in noticed for i in range(len(ends))],
    }
