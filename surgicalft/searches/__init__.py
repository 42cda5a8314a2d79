"""Searches: methods that choose a selection and a learning rate by short runs inside one run. Names -> searches."""

from surgicalft.searches.base import Arena, Search, search
from surgicalft.searches.greedy import greedy
from surgicalft.searches.halving import halving

__all__ = ["SEARCHES", "Arena", "search"]

SEARCHES: dict[str, Search] = {"halving": halving, "greedy": greedy}
