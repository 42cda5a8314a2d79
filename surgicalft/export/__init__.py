"""Results to hand on: filtered, averaged, and as CSV, Parquet, JSON, Markdown, LaTeX or runs of MLflow."""

from surgicalft.export.conditions import select, select_records
from surgicalft.export.files import write_data
from surgicalft.export.latex import latex
from surgicalft.export.means import choose_rates, mean_over
from surgicalft.export.mlflow_runs import to_mlflow
from surgicalft.export.pivot import pivot
from surgicalft.export.query import query
from surgicalft.export.reading import read_records
from surgicalft.export.view import view

__all__ = [
    "choose_rates",
    "latex",
    "mean_over",
    "pivot",
    "query",
    "read_records",
    "select",
    "select_records",
    "to_mlflow",
    "view",
    "write_data",
]
