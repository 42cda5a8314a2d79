"""Every page of the project's report in Chromium, from the file system and from a server, on a desk and on a phone."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from surgicalft.site import build_site

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
EMPTY = (
    "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src.slice(0, 99))"
)
ADDRESSES = "[...document.querySelectorAll('a')].map(a => a.href)"
WIDTHS = {"desk": 1280, "phone": 360}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "site"
    build_site(folder, ROOT / "results/notebooks", ROOT / "figures", ROOT / "notebooks")
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module", params=["file", "server"])
def root(request, site):
    if request.param == "file":
        yield site.as_uri()
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the PATH")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_every_page(site, root, browser, width, scheme):
    names = sorted(path.name for path in site.glob("*.html"))
    assert len(names) > 25
    trouble: list[str] = []
    size = {"width": width, "height": 800}
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
    page.on(
        "response", lambda r: trouble.append(f"{r.status} {r.url}") if r.status >= 400 else None
    )
    page.on(
        "request", lambda r: None if _own(r.url, root) else trouble.append(f"elsewhere: {r.url}")
    )
    for name in names:
        page.goto(f"{root}/{name}", wait_until="load")
        assert page.evaluate(EMPTY) == [], name
        assert page.evaluate(OVERFLOW) <= 0, f"{name} is wider than {width} pixels"
        assert page.locator("h1").first.is_visible(), name
        dark = (
            page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        )
        assert dark == (scheme == "dark")
    page.close()
    assert trouble == []


def test_every_link_opens(site, root, browser):
    page = browser.new_page()
    linked: set[str] = set()
    for path in site.glob("*.html"):
        page.goto(f"{root}/{path.name}")
        linked |= set(page.evaluate(ADDRESSES))
    assert all(_own(address, root) for address in linked)
    for address in sorted(a for a in linked if ".html" in a):
        assert page.goto(address) is None or page.title()  # None: another place on this page
        if "#" in address:
            anchor = address.split("#")[1]
            assert page.locator(f'[id="{anchor}"]').count() == 1, address
    files = [a.removeprefix(root).lstrip("/") for a in linked if ".html" not in a]
    assert all((site / name).is_file() for name in files) and files
    page.close()


def _own(address: str, root: str) -> bool:
    return address.startswith((root, "data:"))
