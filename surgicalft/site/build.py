"""Writes the report: index, a page for each item of the paper, a page for each notebook."""

import platform
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import surgicalft
from surgicalft.site.executed import Executed, executed
from surgicalft.site.found import Found, Variant, find
from surgicalft.site.html import code_styles, from_markdown, from_notebook
from surgicalft.site.items import ITEMS


def build_site(folder: Path, notebooks: Path, figures: Path, paired: Path) -> Path:
    """Write the report into `folder`, in place of an older one, and return its index.html.

    notebooks: executed copies, NN_topic.ipynb, and NN_topic.failed.ipynb of those that failed.
    figures: tables and figures, as notebooks write them, by notebook.
    paired: the folder of the text notebooks with the executed copies that come with the project.
    The pages need no network, no script and no server.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".report-") as scratch:
        fresh = Path(scratch) / "site"
        fresh.mkdir()
        _write(fresh, executed(notebooks, paired), [find(item, figures) for item in ITEMS])
        if folder.exists():  # whole until now, and gone in a moment
            folder.rename(Path(scratch) / "old")
        fresh.rename(folder)
    return folder / "index.html"


def _write(site: Path, copies: Sequence[Executed], found: Sequence[Found]) -> None:
    pages = {copy.name: copy for copy in copies}
    environment = Environment(
        loader=PackageLoader("surgicalft.site"), autoescape=True, undefined=StrictUndefined
    )
    common = {"made": _made(), "copies": copies, "found": found}

    def page(name: str, template: str, **values: Any) -> None:
        text = environment.get_template(template).render(**common, **values)
        (site / name).write_text(text, encoding="utf-8")

    page("index.html", "index.html")
    for one in found:
        shown = [_shown(variant, site) for variant in one.variants]
        notebook = pages.get(one.item.notebook)
        page(one.item.page, "item.html", one=one, shown=shown, notebook=notebook)
    for copy in copies:
        of = [one.item for one in found if one.item.notebook == copy.name]
        page(
            copy.page,
            "notebook.html",
            copy=copy,
            items=of,
            body=Markup(from_notebook(copy.notebook)),
        )
    style = environment.get_template("style.css").render()
    (site / "style.css").write_text(style + code_styles(), encoding="utf-8")


def _shown(variant: Variant, site: Path) -> dict[str, Any]:
    """A variant's tables as HTML and its figures, with the files beside the pages."""
    tables = [(stem.name, Markup(from_markdown(_read(stem)))) for stem in variant.tables]
    data = [_copied(stem, ".csv", site) for stem in variant.tables if _with(stem, ".csv").exists()]
    figures = [(stem.name, _copied(stem, ".png", site)) for stem in variant.figures]
    return {"variant": variant, "tables": tables, "figures": figures, "data": data}


def _read(stem: Path) -> str:
    return _with(stem, ".md").read_text(encoding="utf-8")


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _copied(stem: Path, suffix: str, site: Path) -> str:
    """Copy a file of figures/ into the site; its address there."""
    place = Path("files", stem.parent.name, stem.name + suffix)
    (site / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_with(stem, suffix), site / place)
    return place.as_posix()


def _made() -> str:
    now = datetime.now(UTC).isoformat(" ", "minutes")[:16]
    return (
        f"{now} UTC, surgicalft {surgicalft.__version__}, {platform.system()} {platform.machine()}"
    )
