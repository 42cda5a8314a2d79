"""Methods of fine-tuning: which parameters learn, how fast, with which penalty. Names -> methods."""

from surgicalft.methods.auto_fisher import AutoFisher
from surgicalft.methods.auto_rgn import AutoRGN
from surgicalft.methods.auto_snr import AutoSNR
from surgicalft.methods.base import Method, Plan, Situation
from surgicalft.methods.gradual import GradualFirstLast, GradualLastFirst
from surgicalft.methods.l1_sp import L1SP
from surgicalft.methods.lp_ft import LPFT
from surgicalft.methods.surgical import Surgical
from surgicalft.settings import check_choice

__all__ = ["METHODS", "Method", "Plan", "Situation", "make_method"]

METHODS: dict[str, type[Method]] = {
    "surgical": Surgical,
    "gradual-first-last": GradualFirstLast,
    "gradual-last-first": GradualLastFirst,
    "l1-sp": L1SP,
    "auto-rgn": AutoRGN,
    "auto-snr": AutoSNR,
    "auto-fisher": AutoFisher,
    "lp-ft": LPFT,
}


def make_method(name: str, variant: str = "", strength: float | None = None) -> Method:
    """The method of that name; ValueError for a name, variant or strength that does not exist."""
    check_choice("method", name, list(METHODS))
    return METHODS[name](variant, strength)
