"""The report of a small project, page by page."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from made_site import HOSTILE, make_notebook, make_project

from surgicalft.site import build, build_site
from surgicalft.site.html import from_markdown
from surgicalft.site.items import ITEMS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def pages(project):
    index = build_site(**project)
    return {
        p.name: BeautifulSoup(p.read_text(), "html.parser") for p in index.parent.glob("*.html")
    }


def row(pages, name):
    (link,) = (a for a in pages["index.html"].find_all("a") if a.text == name)
    return link.find_parent("tr").get_text(" ", strip=True)


def test_every_item_of_the_paper_and_every_notebook_has_a_page(pages):
    numbered = [f"Table {n}" for n in range(1, 11)] + [f"Figure {n}" for n in (1, 2, 3, 5, 6)]
    others = ["Figure 4, left", "Figure 4, right", "Proposition 1", "Proposition 2", "Theorem 1"]
    assert {item.title for item in ITEMS} == {*numbered, *others}
    notebooks = {
        f"{n}.html" for n in ("03_which_block", "04_natural_shifts", "05_vision_transformers")
    }
    assert set(pages) == {"index.html", *(item.page for item in ITEMS), *notebooks}


def test_every_link_and_image_leads_somewhere(project, pages):
    for name, page in pages.items():
        addresses = [a["href"] for a in page.find_all("a")] + [
            i["src"] for i in page.find_all("img")
        ]
        for address in addresses:
            path, _, anchor = address.partition("#")
            assert "//" not in address, "nothing comes from elsewhere"
            assert (project["folder"] / (path or name)).is_file(), address
            assert not anchor or pages[path or name].find(id=anchor), address
        assert (
            page.html["lang"] and page.title.text and page.find("meta", attrs={"name": "viewport"})
        )
        assert all(image["alt"] for image in page.find_all("img"))
        assert len(page.find_all("h1")) == 1


def test_status_is_computed_and_evidence_is_told_from_demonstration(pages):
    found = row(pages, "Figure 2")
    assert "real images: evidence" in found and "2026-02-03" in found
    assert "cifar: 1 number beside the paper's, 1 of 1 within 2 standard errors" in found
    assert "embedded: 1 number beside the paper's, 0 of 1 within 2 standard errors" in found
    assert "not run here" in row(pages, "Table 3")
    kinds = [span.text for span in pages["figure-2.html"].find_all("span", class_="kind")]
    assert kinds == ["real images: evidence", "embedded data: a demonstration"]


def test_notebooks_say_how_they_were_run(pages):
    assert "executed here" in row(pages, "03_which_block") and "1.5 min" in row(
        pages, "03_which_block"
    )
    assert "code cell 1: OSError: no" in row(pages, "04_natural_shifts")
    assert "failed" in row(pages, "04_natural_shifts")
    assert "not executed here" in row(pages, "05_vision_transformers")
    page = pages["03_which_block.html"]
    assert "seeds = [0, 1]" in page.text and "answers Figure 2" in page.text.replace("\n", " ")
    assert len(page.find_all("math")) == 2 and "print(1 < 2)" in page.text


def test_progress_is_shown_only_where_a_notebook_failed(pages):
    assert "runs: 100%" not in pages["03_which_block.html"].text
    assert "runs: 100%" in pages["04_natural_shifts.html"].text


def test_what_tables_and_errors_say_is_text_and_not_html(pages):
    for page in pages.values():
        assert page.find("script") is None
    assert HOSTILE in pages["figure-2.html"].text
    assert HOSTILE in pages["04_natural_shifts.html"].text


def test_the_newer_of_a_copy_and_a_failure_counts_and_old_pages_go(tmp_path):
    project = make_project(tmp_path)
    build_site(**project)
    (project["folder"] / "stale.html").touch()
    make_notebook(project["notebooks"] / "04_natural_shifts.ipynb")
    index = build_site(**project)
    assert not (index.parent / "stale.html").exists()
    assert (
        "failed" not in (index.parent / "04_natural_shifts.html").read_text().split("<article")[0]
    )


def test_a_build_that_breaks_off_leaves_the_older_site(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    index = build_site(**project)
    before = index.read_text()
    monkeypatch.setattr(build, "from_notebook", lambda notebook: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_site(**project)
    assert index.read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "site",
        "executed",
        "figures",
        "notebooks",
    }


def test_a_formula_that_is_unknown_stays_as_it_was():
    assert "<code>\\frac{</code>" in from_markdown("before $\\frac{$ after")
    assert "<math" in from_markdown("$\\theta_j \\text{ fixed}$")


def test_the_projects_own_tables_and_notebooks_are_found():
    """Parts that an item names exist for the embedded data, but for what only real images have."""
    for item in ITEMS:
        if item.missing or item.tags == ("imagenet",):
            continue
        folder = ROOT / "figures" / item.notebook
        assert (ROOT / "notebooks" / f"{item.notebook}.py").is_file(), item.title
        names = {re.sub(r"^embedded-?", "", p.stem) for p in folder.glob("embedded*")}
        assert {*item.tables, *item.figures} <= names, item.title
