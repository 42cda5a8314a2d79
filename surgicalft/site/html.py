"""Markdown and notebooks as HTML that needs nothing from elsewhere: formulas as MathML, no scripts."""

import html
from typing import Any

from bs4 import BeautifulSoup
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter


class _Renderer(IPythonRenderer):
    """Formulas become MathML, which browsers show without a script; headings get no anchors of their own."""

    def inline_math(self, body: str) -> str:
        return _math(body, "inline")

    def block_math(self, body: str) -> str:
        return _math(body, "block")

    def multiline_math(self, text: str) -> str:
        return _math(text.strip("$"), "block")


class _Exporter(HTMLExporter):
    """The body alone, without the scripts and styles of Jupyter's own page."""

    def __init__(self) -> None:
        super().__init__(template_name="basic")

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        return _rendered(source, escape=False)


def _math(body: str, display: str) -> str:
    try:
        return str(convert(body, display=display))
    except Exception:  # a formula that the converter does not know stays readable as it was written
        return f"<code>{html.escape(body)}</code>"


def from_markdown(text: str) -> str:
    """HTML of Markdown with GitHub's tables and formulas between dollars; its HTML is shown as text."""
    return _tidied(_rendered(text, escape=True), "figure")


def _rendered(text: str, escape: bool) -> str:
    renderer = _Renderer(escape=escape, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(text))


def from_notebook(notebook: NotebookNode) -> str:
    """The body of a page that shows a notebook, its figures inline."""
    body, _ = _Exporter().from_notebook_node(notebook)
    return _tidied(body, "figure that this notebook made")


def code_styles() -> str:
    """CSS of highlighted code, for light and dark."""
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def _tidied(text: str, alt: str) -> str:
    """Wide tables scroll in a box of their own, images load late and have words, headings make room for the page's."""
    soup = BeautifulSoup(text, "html.parser")
    for table in soup.find_all("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "wide", "tabindex": "0"}))
    for image in soup.find_all("img"):
        if not image.get("alt") or "No description" in image["alt"]:
            image["alt"] = alt
    for element in soup.find_all(["style", "script"]):
        element.decompose()
    return str(soup)
