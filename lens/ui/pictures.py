"""Pictures of figures, PNG and SVG and PDF, made by the Chromium or Chrome of the machine that serves. Offline."""

from __future__ import annotations

import asyncio
import base64
import html
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens.figures.paper import FOOT_SIZE, INCH, SIDE, Paper, Sheet, foot_lines, on_paper, sheet
from lens.figures.theme import DARK, LIGHT

if TYPE_CHECKING:
    from choreographer import Tab
    from kaleido import Kaleido
    from plotly.graph_objects import Figure

Form = Literal["png", "svg", "pdf"]
DENSITY = 2  # pixels of a PNG for one of the print
PATIENCE = 60.0  # seconds for one picture on a busy machine
SETTLED = 3  # looks in a row at a page whose height does not change: its scripts are done
GLANCE = 0.15  # seconds between two of them
# What is drawn comes with the file: the browser is told to fetch nothing, whatever a text on the page says.
SEALED = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; img-src data:; font-src data:\">"
)
NO_BROWSER = (
    "PNG, SVG and PDF are drawn by a Chromium or Chrome on the machine that serves, and it has none "
    "(`apt-get install chromium`, or `LENS_CHROMIUM=` its path). The camera above a chart saves a PNG without it."
)
_ONE_AT_A_TIME = ThreadPoolExecutor(1, "lens-pictures")


@cache
def browser_path() -> str | None:
    """The browser that draws; None where there is none. ``LENS_CHROMIUM`` names it, or it is found."""
    named = os.environ.get("LENS_CHROMIUM")
    if named:
        return shutil.which(named)
    from choreographer.browsers import Chromium

    return Chromium.find_browser(skip_local=True)


def forms_of(figure: Figure | str) -> tuple[Form, ...]:
    """What a figure can be had as. A view made of HTML is text to the browser, which no SVG reader draws."""
    return ("png", "pdf") if isinstance(figure, str) else ("png", "svg", "pdf")


def picture(figure: Figure | str, form: Form, paper: Paper, foot: str = "") -> bytes:
    """A figure, or the HTML of a view, as a file of ``form``; ``foot`` is the line that stands below it.

    RuntimeError if this machine has no browser that draws, TimeoutError after ``PATIENCE`` seconds. Pictures are drawn
    one after the other, whoever asks.
    """
    if browser_path() is None:
        raise RuntimeError(NO_BROWSER)
    if form not in forms_of(figure):
        raise ValueError(f"a view made of HTML can be had as {', '.join(forms_of(figure))}, not {form}")
    return _ONE_AT_A_TIME.submit(asyncio.run, _draw(figure, form, paper, foot)).result()


async def _draw(figure: Figure | str, form: Form, paper: Paper, foot: str) -> bytes:
    from kaleido import Kaleido

    async with asyncio.timeout(PATIENCE):
        async with Kaleido(mathjax=False, path=browser_path()) as browser:
            if isinstance(figure, str):
                return await _photograph(browser, _page_of_view(figure, foot, paper), form, paper)
            drawn, width, height = on_paper(figure, paper)
            svg = await browser.calc_fig(drawn, opts={"format": "svg", "width": width, "height": height})
            one = sheet(svg.decode(), (width, height), foot, paper)
            if form == "svg":
                return one.svg.encode()
            return await _photograph(browser, _page_of_sheet(one), form, paper, (one.width, one.height))


def _page_of_sheet(one: Sheet) -> str:
    """An HTML page that is the picture and nothing else."""
    style = "<style>html,body{margin:0;padding:0}svg{display:block}</style>"
    return f'<!doctype html><meta charset="utf-8">{SEALED}{style}{one.svg}'


def _page_of_view(view: str, foot: str, paper: Paper) -> str:
    """An HTML page with a view as wide as the print and the line below it."""
    palette = DARK if paper.dark else LIGHT
    style = (
        f"html{{color-scheme:{'dark' if paper.dark else 'light'}}}body{{margin:0;padding:{SIDE}px;zoom:{paper.scale};"
        f"font:13px/1.5 system-ui,sans-serif;color:{palette.text};background:{palette.background}}}"
        f"p.foot{{margin:{SIDE}px 0 0;font-size:{FOOT_SIZE}px;line-height:1.4}}"
    )
    lines = "<br>".join(html.escape(line) for line in foot_lines(foot, paper.width))
    end = f'<p class="foot">{lines}</p>' if lines else ""
    return f'<!doctype html><meta charset="utf-8">{SEALED}<style>{style}</style>{view}{end}'


async def _photograph(
    browser: Kaleido, page: str, form: Form, paper: Paper, size: tuple[float, float] | None = None
) -> bytes:
    """The page as PNG or PDF; of a page whose ``size`` in pixels is not known, as high as it becomes."""
    with tempfile.TemporaryDirectory(prefix="lens-picture-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        tab = await browser.create_tab(file.as_uri())
        width, height = size or (paper.inches * INCH, 400.0)
        await _size(tab, width, height)
        settled = await _settle(tab)
        if size is None:
            height = settled
            await _size(tab, width, height)
        if form == "pdf":
            made = await _send(
                tab, "Page.printToPDF", printBackground=True, paperWidth=width / INCH, paperHeight=(height + 1) / INCH,
                marginTop=0, marginBottom=0, marginLeft=0, marginRight=0, pageRanges="1",
            )  # fmt: skip
        else:
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            made = await _send(tab, "Page.captureScreenshot", format="png", clip=clip)
        return base64.b64decode(made["data"])


async def _size(tab: Tab, width: float, height: float) -> None:
    size = {"width": -int(-width // 1), "height": -int(-height // 1)}
    await _send(tab, "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=DENSITY, mobile=False)


async def _settle(tab: Tab) -> float:
    """The height of a page in pixels, when its scripts have drawn it."""
    seen, last = 0, -1.0
    while seen < SETTLED:
        made = await _send(tab, "Runtime.evaluate", expression=HEIGHT, returnByValue=True)
        height = float(made["result"]["value"])
        seen = seen + 1 if height == last else 0
        last = height
        await asyncio.sleep(GLANCE)
    return last


HEIGHT = "document.readyState === 'complete' ? document.documentElement.getBoundingClientRect().height : -1"


async def _send(tab: Tab, command: str, **params: Any) -> dict[str, Any]:
    answer = await tab.send_command(command, params=params)
    if "error" in answer:
        raise RuntimeError(f"the browser that draws refused {command}: {answer['error']}")
    return answer["result"]
