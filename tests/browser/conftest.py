"""A real server and a real Chromium, which reaches nothing but this machine: what it asks for elsewhere fails the test.

Run with ``pytest -m browser``. Chromium is never downloaded: ``LENS_CHROMIUM`` names it, or it is found on PATH.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

expect.set_options(timeout=60_000)  # a busy machine is not a failure
ROOT = Path(__file__).parents[2]
REAL = "smollm2-135m-instruct"  # what these tests know the numbers, layers and speed of
HOSTILE = "</script><img src=x onerror=alert(1)>"
CELL = """([title, layer, head]) => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')].find(
        node => node.querySelector('.gtitle')?.textContent.includes(title));
    plot.scrollIntoView({ block: 'center' });
    const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
    return [box.left + xaxis._offset + xaxis.d2p(layer), box.top + yaxis._offset + yaxis.d2p(head)];
}"""
IDLE = """async () => {
    for (let i = 0; i < 2; i++) await new Promise(done => requestIdleCallback(done, { timeout: 5000 }));
}"""
IS_DARK = """dark => {
    const ground = getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor.match(/\\d+/g);
    return ground.slice(0, 3).reduce((sum, part) => sum + Number(part), 0) < 384 === dark;
}"""
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",  # nothing leaves this machine
)
SIZE = {"width": 1440, "height": 900}
BENIGN = "/_stcore/"  # Streamlit asks for these below each page's address and is answered 404


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@contextmanager
def streamlit_server(script: Path, env: dict[str, str], cwd: Path = ROOT) -> Iterator[str]:
    """``streamlit run script`` on a free port of this machine; yields its address once it answers.

    The settings are those of ``.streamlit`` in ``cwd``.
    """
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    log = script.parent / ".server.log" if script.parent != ROOT else Path(os.devnull)
    with served(command, os.environ | {"PYTHONPATH": str(ROOT), **env}, cwd, log) as url:
        yield url


@contextmanager
def served(command: list[str], env: Mapping[str, str], cwd: Path, log: Path) -> Iterator[str]:
    """What starts a Streamlit server, on a free port of this machine; yields its address once it answers."""
    port = free_port()
    options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *options], cwd=cwd, env=env, stdout=out, stderr=out)
        try:
            wait_for_health(f"http://localhost:{port}/_stcore/health", process)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()
            process.wait(60)  # a server that computes ends late on a busy machine


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def wait_for_health(url: str, process: subprocess.Popen) -> None:
    """Unknown paths answer 200 too, so the body is what counts."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"streamlit ended with code {process.returncode} before it answered")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"no answer 'ok' from {url} within 30 s")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the real app."""
    with streamlit_server(ROOT / "app.py", {}) as url:
        yield url


@pytest.fixture(scope="module")
def serve(tmp_path_factory) -> Iterator[Callable[..., str]]:
    """``serve(home, tokens=...)``: the address of an app with these scripts, alive until the module ends."""
    with ExitStack() as running:

        def start(home: str, **pages: str) -> str:
            folder = tmp_path_factory.mktemp("app")
            (folder / "pages").mkdir()
            (folder / "app.py").write_text(home, encoding="utf-8")
            for name, script in (pages or {"method": ""}).items():  # without a page there are no page links
                (folder / "pages" / f"{name}.py").write_text(script, encoding="utf-8")
            return running.enter_context(streamlit_server(folder / "app.py", {}))

        yield start


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("LENS_CHROMIUM") or shutil.which("chromium")
    if not path or not Path(path).exists():
        raise RuntimeError("The browser tests need Chromium: install the package 'chromium', or set LENS_CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


class Watched(NamedTuple):
    """What the browser did besides showing pages: requests to other hosts, errors on the console, dialogs."""

    outside: list[str]
    errors: list[str]
    dialogs: list[str]


def _watch(context: BrowserContext) -> Watched:
    """Only looks on: were every request handed to this process, nothing would be cached, and all would take longer."""
    seen = Watched([], [], [])

    def asked(url: str):
        parts = urlsplit(url)
        if parts.hostname not in ("localhost", "127.0.0.1") and parts.scheme not in ("data", "blob", "about"):
            seen.outside.append(url)

    def console(message):
        if message.type == "error" and BENIGN not in message.location.get("url", ""):
            seen.errors.append(f"{message.text} at {message.location.get('url', '')}")

    def dialog(dialog):
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    context.on("request", lambda request: asked(request.url))
    context.on("page", lambda page: page.on("websocket", lambda socket: asked(socket.url)))
    context.on("console", console)
    context.on("dialog", dialog)
    context.on("weberror", lambda error: seen.errors.append(str(error.error)))
    return seen


class Visitors:
    """Contexts of one browser. Visitors of one look (``color_scheme``) come after each other in the same one.

    So the app's scripts are read and compiled once, which is most of what opening a page costs; cookies and storage
    go with each visitor.
    """

    def __init__(self, browser: Browser):
        self.browser = browser
        self.kept: dict[frozenset[tuple[str, str]], tuple[BrowserContext, Watched]] = {}

    def come(self, options: dict[str, str]) -> tuple[BrowserContext, Watched]:
        """An empty context with these options, watched."""
        key = frozenset(options.items())
        if key not in self.kept:
            self.kept[key] = self.alone(options)
        return self.kept[key]

    def alone(self, options: dict[str, Any]) -> tuple[BrowserContext, Watched]:
        """A context for one visitor, who may have ``permissions``; whoever asks for it closes it."""
        context = self.browser.new_context(viewport=SIZE, **options)
        context.set_default_timeout(60_000)
        return context, _watch(context)

    def go(self) -> list[Watched]:
        """Every tab is closed and everything stored is forgotten; what the contexts did since the visitor came."""
        done = []
        for context, seen in self.kept.values():
            for page in context.pages:
                if page.url.startswith("http"):
                    page.evaluate("localStorage.clear(); sessionStorage.clear()")
                page.close()
            context.clear_cookies()
            done.append(Watched(*map(list, seen)))
            for part in seen:
                part.clear()
        return done


@pytest.fixture(scope="session")
def visitors(chromium: Browser) -> Visitors:
    return Visitors(chromium)


@pytest.fixture
def new_page(visitors: Visitors) -> Iterator[Callable[..., Page]]:
    """``new_page(color_scheme="dark")``: a tab of a new visitor, watched until the test ends."""
    alone: list[tuple[BrowserContext, Watched]] = []

    def build(**options: Any) -> Page:
        if "permissions" in options:
            alone.append(visitors.alone(options))
            context, _ = alone[-1]
        else:
            context, _ = visitors.come(options)
        page = context.new_page()
        by_text = page.get_by_text
        # What stands in a box to be edited is not what a page says: the claim of a finding begins with the notice.
        page.get_by_text = lambda *text, **how: by_text(*text, **how).and_(page.locator(":not(textarea)"))
        return page

    yield build
    for context, _ in alone:
        context.close()
    for seen in [*visitors.go(), *(seen for _, seen in alone)]:
        assert seen.outside == [], "requests left this machine"
        assert seen.dialogs == [], "a script of a stranger ran"
        assert seen.errors == [], "errors on the browser's console"


@pytest.fixture
def page(new_page) -> Page:
    return new_page()


def at_rest(page):
    """Wait until the script has ended and the browser has drawn what it was sent.

    A chart that is about to be drawn anew still holds its selection, and a second click on it would say nothing new.
    """
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=120_000)
    page.evaluate(IDLE)


def ready(page, model=REAL):
    """Wait until the model is open and the page at rest."""
    expect(page.locator(".lens-badge b")).to_have_text(re.compile(re.escape(model)), timeout=120_000)
    at_rest(page)


def query(page) -> dict[str, list[str]]:
    """What the address says besides the real model, which these tests name."""
    found = parse_qs(urlsplit(page.url).query, keep_blank_values=True)
    return {name: value for name, value in found.items() if (name, value) != ("model", [REAL])}


def open_controls(page):
    """Unfold the line of controls above a page, if it is folded."""
    strip = page.locator(".st-key-strip details")
    expect(strip.first).to_be_visible()
    if strip.first.get_attribute("open") is None:
        strip.first.locator("summary").click()
    expect(page.get_by_role("combobox", name="Model").first).to_be_visible()


def prompt_box(page):
    """The newest one: for a moment after Back the box that it replaces is there too."""
    open_controls(page)
    return page.get_by_role("textbox", name="Prompt").first


def go(page, title):
    """Click a menu link as a hand does: Streamlit loses a click of 0 ms that also ends typing in a text box."""
    page.get_by_test_id("stSidebar").get_by_role("link", name=title, exact=True).click(delay=90)
    expect(page.locator(".lens-title")).to_contain_text(title)


def drawn(page, title, model=REAL):
    """A chart with this title is on the page, and the page is at rest."""
    said = page.locator(".gtitle, .lens-heading").filter(has_text=title, visible=True)  # the latter in narrow windows
    expect(said.first).to_be_visible(timeout=120_000)
    ready(page, model)


def click_head(page, title, layer, head, model=REAL):
    """Click the cell of a head in the grid with this title."""
    drawn(page, title, model)
    page.mouse.click(*page.evaluate(CELL, [title, layer, head]))


def in_both_themes(page) -> Iterator[str]:
    """``light``, then ``dark``, as the visitor's system asks for; the page is drawn anew in between, not loaded."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(IS_DARK, arg=scheme == "dark")
        page.evaluate(IDLE)
        yield scheme


def fits(page, url, chart, name, width, model=REAL):
    """Open ``url`` at this width: the chart titled ``chart`` is drawn, nothing sticks out in either theme, and pictures
    are taken.
    """
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(url)
    drawn(page, chart, model)
    for scheme in in_both_themes(page):
        assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
        page.screenshot(path=f"screenshots/{name}-{scheme}-{width}.png", full_page=True)
