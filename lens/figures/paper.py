"""Figures as a paper prints them: so wide, with letters of so many points, and a line that says what they are of."""

from __future__ import annotations

import html
import re
import textwrap
from typing import Any, NamedTuple

import plotly.graph_objects as go

from lens.figures.drawn import copy_of, drawn
from lens.figures.theme import DARK, FONT, FONT_SIZE, LIGHT, SUBTITLE_SIZE, standalone, wrap

INCH, POINT = 96.0, 96.0 / 72.0  # pixels of a browser
FOOT_SIZE = 10  # of the line below a figure, where its letters are FONT_SIZE
LINE = 14  # pixels from one such line to the next
HIGHEST = 680  # pixels that a figure has on a projector of 1080
NARROWEST = 320  # pixels of the design: a title needs them
SIDE = 6  # pixels at its left and right
LETTER = 0.5  # width of a letter, as a share of its size
TITLE_SIZE = 17  # plotly's own, where the letters of axes are FONT_SIZE
SVG_SIZE = re.compile(r"<svg\b[^>]*>")


class Paper(NamedTuple):
    """How a picture is to be printed."""

    inches: float  # its width
    points: float = 8.0  # of the letters of axes; titles are larger as they are on the page
    dark: bool = False
    title: bool = True  # whether title and definition stand above it

    @property
    def scale(self) -> float:
        """Pixels of the print for one pixel of the page's design."""
        return self.points * POINT / FONT_SIZE

    @property
    def width(self) -> int:
        """Pixels of the page's design that the width holds."""
        return max(1, round(self.inches * INCH / self.scale))


class Sheet(NamedTuple):
    """An SVG with its size in pixels of the print."""

    svg: str
    width: float
    height: float


def on_paper(figure: go.Figure, paper: Paper) -> tuple[go.Figure, int, int]:
    """The figure with its own colours and background, and the width and height at which it is drawn.

    Title and definition are broken at that width. A figure that is narrower by design stays so, unless its title would
    not fit; its letters keep the size that was asked for.
    """
    own = figure.layout.width
    width = min(max(int(own), NARROWEST), paper.width) if own else paper.width
    copy = standalone(figure, "dark" if paper.dark else "light")
    title, subtitle = copy.layout.title.text or "", copy.layout.title.subtitle.text or ""
    heading = _broken(title, width, TITLE_SIZE) if paper.title else ""
    below = _broken(subtitle, width, SUBTITLE_SIZE) if paper.title else ""
    more = _lines(heading) * 22 + _lines(below) * 18 - _lines(title) * 22 - _lines(subtitle) * 18
    height, top = int(copy.layout.height or 450) + more, (copy.layout.margin.t or 0) + more
    copy.update_layout(title={"text": heading, "subtitle": {"text": below}}, margin={"t": max(8, top)})
    return copy.update_layout(width=width, height=height), width, height


def _broken(text: str, width: float, size: float) -> str:
    """Escaped text in lines that fit ``width``, whatever lines it had."""
    plain = html.unescape(text.replace("<br>", " "))
    return wrap(plain, max(20, int(width / (LETTER * size))))


def _lines(text: str) -> int:
    return text.count("<br>") + 1 if text else 0


@drawn
def larger(figure: go.Figure, times: float) -> go.Figure:
    """The figure with letters ``times`` as large, and room for them, for a projector.

    It grows with them until it would not fit on the screen with a title above and a subtitle below.
    """
    large = copy_of(figure)
    layout = _enlarged({key: value for key, value in large.layout.to_plotly_json().items() if key != "template"}, times)
    room = {side: times * size for side, size in layout.get("margin", {}).items() if side in ("t", "b")}
    grown = max(1.0, min(times, HIGHEST / (layout.get("height") or HIGHEST)))
    sizes = {side: grown * layout[side] for side in ("width", "height") if layout.get(side)}
    large.update_layout(layout | sizes | {"margin": layout.get("margin", {}) | room})
    for trace in large.data:
        named = {name: value for name, value in trace.to_plotly_json().items() if isinstance(value, dict)}
        trace.update({name: _enlarged(value, times, name) for name, value in named.items()}, overwrite=True)
    return large


def _enlarged(part: Any, times: float, name: str = "") -> Any:
    """A part of a figure with every size of letters multiplied."""
    if isinstance(part, dict):
        if name.endswith("font") and isinstance(part.get("size"), (int, float)):
            part = part | {"size": part["size"] * times}
        return {key: _enlarged(value, times, key) for key, value in part.items()}
    return [_enlarged(item, times, name) for item in part] if isinstance(part, (list, tuple)) else part


def foot_lines(foot: str, width: float) -> list[str]:
    """The line below a figure, broken so that it fits ``width`` pixels of the design."""
    return textwrap.wrap(foot, max(20, int((width - 2 * SIDE) / (LETTER * FOOT_SIZE)))) if foot else []


def sheet(svg: str, size: tuple[int, int], foot: str, paper: Paper) -> Sheet:
    """The drawn figure with the line ``foot`` below it, at the size of the print.

    ``svg`` is a whole SVG of ``size`` pixels of the design.
    """
    width, height = size
    lines, palette = foot_lines(foot, width), DARK if paper.dark else LIGHT
    total = height + LINE * len(lines) + SIDE * bool(lines)
    opening = SVG_SIZE.search(svg)
    if opening is None:
        raise ValueError(f"an SVG was expected, got {svg[:60]!r}")
    inner = svg[opening.start() :]
    text = "".join(
        f'<text x="{SIDE}" y="{height + LINE * (i + 0.7):.1f}" font-family="{html.escape(FONT)}" '
        f'font-size="{FOOT_SIZE}" fill="{palette.text}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    w, h = width * paper.scale, total * paper.scale
    return Sheet(
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{w / INCH:.4f}in" '
        f'height="{h / INCH:.4f}in" viewBox="0 0 {width} {total}">'
        f'<rect width="{width}" height="{total}" fill="{palette.background}"/>{inner}{text}</svg>',
        w,
        h,
    )
