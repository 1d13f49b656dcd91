"""Pictures of figures, drawn by the real browser of this machine."""

import io
import re
import struct
import threading
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, HTTPServer

import plotly.graph_objects as go
import pytest
from playwright.sync_api import Page

from lens.figures.paper import INCH, Paper
from lens.figures.theme import base_layout
from lens.ui.pictures import picture

PAPER = Paper(3.3, 8)
FOOT = "lens-2l · float32 · 16 sequences, seed 0 · http://localhost/head_scores"


@pytest.fixture(scope="module")
def figure() -> go.Figure:
    return go.Figure(go.Scatter(x=[0, 1], y=[0, 1]), base_layout("<img src=x> score", "of nothing", height=200))


def size_of_png(data: bytes) -> tuple[int, int]:
    assert data.startswith(b"\x89PNG")
    return struct.unpack(">II", data[16:24])


def test_a_chart_as_png_svg_and_pdf_has_the_size_that_was_asked_for(figure):
    svg = ET.fromstring(picture(figure, "svg", PAPER, FOOT))
    width, height = (float(svg.get(side).removesuffix("in")) for side in ("width", "height"))
    assert width == pytest.approx(3.3, abs=0.01)
    texts = "".join(svg.itertext())
    assert "<img src=x> score" in texts
    assert FOOT in texts.replace("\n", " ") or FOOT.replace(" ", "") in texts.replace(" ", "")
    assert size_of_png(picture(figure, "png", PAPER, FOOT)) == pytest.approx(
        (2 * INCH * width, 2 * INCH * height), abs=4
    )
    pdf = picture(figure, "pdf", PAPER, FOOT)
    box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert [float(side) / 72 for side in box.groups()] == pytest.approx([width, height], abs=0.03)
    assert pdf.count(b"/Type /Page\n") == 1


def test_a_view_of_html_is_drawn_when_its_script_is_done_and_fetches_nothing():
    asked = []

    class Listen(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("localhost", 0), Listen) as outside:
        threading.Thread(target=outside.serve_forever, daemon=True).start()
        address = f"http://localhost:{outside.server_port}/x.png"
        view = (
            f"<p>tokens</p><img src='{address}'><script>fetch('{address}').catch(() => 0);"
            "setTimeout(() => document.body.insertAdjacentHTML('afterbegin', '<p style=\"height:300px\">'), 100)"
            "</script>"
        )
        width, height = size_of_png(picture(view, "png", PAPER, FOOT))
        outside.shutdown()
    assert width == pytest.approx(2 * 3.3 * INCH, abs=2)
    assert height > 2 * 300 * PAPER.scale
    assert asked == []


def test_a_view_of_html_is_not_had_as_svg():
    with pytest.raises(ValueError, match="can be had as png, pdf, not svg"):
        picture("<p>tokens</p>", "svg", PAPER)


def test_a_click_takes_the_picture_of_a_page_with_its_model_and_link(server: str, page: Page):
    page.goto(f"{server}/head_scores?model=lens-2l")
    page.get_by_text("Export", exact=True).first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG", exact=True).click()
    root = ET.parse(io.BytesIO(download.value.path().read_bytes())).getroot()
    text = "".join(root.itertext()).replace(" ", "")
    assert "everyheadoflens-2l" in text
    assert re.search(r"lens-2l@\S+·float32·.*16.*seed0.*/head_scores", text), text[-300:]
