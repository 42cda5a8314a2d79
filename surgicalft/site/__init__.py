"""The report: a static site of what the paper shows, what came out here, and the notebooks that were executed."""

from surgicalft.site.build import build_site

__all__ = ["build_site"]
