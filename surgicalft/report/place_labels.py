"""Names beside points, where they cover neither points nor each other."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from surgicalft.report.style import GREY

Array = npt.NDArray[np.float64]
_STYLE: dict[str, Any] = {
    **{"textcoords": "offset points", "ha": "center", "va": "center"},
    **{"fontsize": 7.5, "annotation_clip": False},
    "bbox": {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.4},
}
_MARKER = 9  # points, with some room around it
_DISTANCES = (6, 11, 17, 24, 32, 42, 54, 68)  # points
_ANGLES = (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240)  # degrees, the better the earlier


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out now, for good: where labels are free to go is known only then."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def place_labels(
    axes: Axes,
    points: Array,
    names: Iterable[str],
    colours: Iterable[str],
    errors: Iterable[float],
) -> None:
    """Write each point's name at the nearest place that is free, with a thin line to it where that is far.

    points: (n, 2) in data coordinates, in axes whose layout is frozen; errors: half the length of their error bars.
    Nearest first, a place is free where its box covers no point or error bar, no earlier name and no text of the
    axes, and lies inside them; where none is, the least covered.
    """
    pixels = axes.transData.transform(points)
    scale = axes.figure.dpi / 72  # pixels in a point
    inside = np.array([axes.bbox.extents])
    taken = _taken(axes, points, pixels, errors, scale)
    for point, (x, y), name, colour in zip(points, pixels, names, colours, strict=True):
        text = axes.annotate(name, (point[0], point[1]), (0, 0), color=colour, **_STYLE)
        extent = text.get_window_extent()
        size = (extent.width + 2 * scale, extent.height)
        moves, half = _places(*size, scale), np.divide(size, 2)
        centres = moves + np.array([x, y])
        boxes = np.hstack([centres - half, centres + half])
        covered = size[0] * size[1] - _common(boxes, inside) + _common(boxes, taken)
        best = int(np.argmin(covered.round(6)))  # the first of the best
        taken = np.vstack([taken, boxes[best]])
        text.set_position(moves[best] / scale)
        _leader(axes, np.array([x, y]), boxes[best], scale)


def _taken(
    axes: Axes, points: Array, pixels: Array, errors: Iterable[float], scale: float
) -> Array:
    """Boxes (n, 4), in pixels, of markers, of error bars, and of texts that are there already."""
    room = _MARKER * scale / 2
    bars = np.array([[0, -e, 0, e] for e in errors]).reshape(-1, 2)
    ends = axes.transData.transform(np.repeat(points, 2, axis=0) + bars).reshape(-1, 4)
    texts = [text.get_window_extent().extents for text in axes.texts]
    return np.vstack(
        [
            np.hstack([pixels - room, pixels + room]),
            ends + scale * np.array([-1, -1, 1, 1]),
            np.reshape(texts, (-1, 4)),
        ]
    )


def _places(width: float, height: float, scale: float) -> Array:
    """Centres (n, 2) of a box around its point, in pixels, the nearest first."""
    far, angle = np.meshgrid(np.multiply(_DISTANCES, scale), np.deg2rad(_ANGLES), indexing="ij")
    moves = [(far + width / 2) * np.cos(angle), (far + height / 2) * np.sin(angle)]
    return np.stack([move.ravel() for move in moves], axis=1)


def _common(boxes: Array, others: Array) -> Array:
    """Square pixels (n,) that each box (n, 4) shares with the others (m, 4); x0, y0, x1, y1."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Array = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return shared


def _leader(axes: Axes, point: Array, box: Array, scale: float) -> None:
    end = np.clip(point, box[:2], box[2:])
    if math.dist(point, end) > _MARKER * scale:
        line = axes.transData.inverted().transform(np.stack([point, end]))
        axes.plot(line[:, 0], line[:, 1], color=GREY, lw=0.5, zorder=0.5)
