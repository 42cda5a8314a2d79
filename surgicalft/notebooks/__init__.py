"""Runs the notebooks strictly, and keeps each text notebook in step with its executed copy."""

from surgicalft.notebooks.pairs import check_pair, execute_pair, paired, tidied
from surgicalft.notebooks.parameters import Parameter, check_values, read_parameters
from surgicalft.notebooks.runner import NotebookError, read_notebook, run_notebook

__all__ = [
    "NotebookError",
    "Parameter",
    "check_pair",
    "check_values",
    "execute_pair",
    "paired",
    "read_notebook",
    "read_parameters",
    "run_notebook",
    "tidied",
]
