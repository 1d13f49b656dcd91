"""How well the text of a figure stands out from its paper, in both themes (WCAG 2)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lens.figures.theme import DARK, LIGHT, Palette

ENOUGH = 4.5  # of text, at any size
UNSEEN = 0.05  # opacity below which a text is there for the room that it takes, or to be hovered
THEMES = {"light": LIGHT, "dark": DARK}
NAMED = {"white": "#ffffff", "black": "#000000"}
Colour = tuple[float, float, float, float]  # red, green, blue 0..255, opacity 0..1


class Contrast(NamedTuple):
    """The text of a figure that stands out least. ``theme``: "light" or "dark"; ``where``: its place in the figure."""

    value: float
    theme: str
    where: str


def least_contrast(figure: Mapping[str, Any]) -> Contrast:
    """Of all text of a figure, given as plotly's JSON, the one with the least contrast to what it stands on."""
    return min(contrast for theme, palette in THEMES.items() for contrast in _contrasts(figure, theme, palette))


def ratio(text: str, paper: str) -> float:
    """The contrast of two colours, 1 to 21; a translucent text lies on the paper, which hides what is below it."""
    paper_colour = read_colour(paper)
    one, other = sorted((_luminance(_over(read_colour(text), paper_colour)), _luminance(paper_colour)))
    return (other + 0.05) / (one + 0.05)


def read_colour(text: str) -> Colour:
    """``#rgb``, ``#rrggbb``, ``rgb(…)`` or ``rgba(…)``; ValueError for any other."""
    text = NAMED.get(text, text).strip().lower()
    if re.fullmatch("#([0-9a-f]{3}|[0-9a-f]{6})", text):
        digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
        red, green, blue = (int(digits[i : i + 2], 16) for i in (0, 2, 4))
        return red, green, blue, 1.0
    parts = re.fullmatch(r"rgba?\(([\d.]+),\s*([\d.]+),\s*([\d.]+)(?:,\s*([\d.]+))?\)", text)
    if parts is None:
        raise ValueError(f"{text!r} is no colour that is known here; give #rrggbb or rgba(…).")
    red, green, blue = (float(parts[i]) for i in (1, 2, 3))
    return red, green, blue, float(parts[4] or 1)


def _contrasts(figure: Mapping[str, Any], theme: str, palette: Palette) -> Iterator[Contrast]:
    yield Contrast(ratio(palette.text, palette.background), theme, "text without a colour of its own")
    for where, colour, paper in _texts({name: figure.get(name) for name in ("layout", "data")}, "", ""):
        if read_colour(colour)[3] < UNSEEN:
            continue
        back = paper if paper and read_colour(paper)[3] == 1 else palette.background
        yield Contrast(ratio(colour, back), theme, where)


def _texts(part: Any, where: str, paper: str) -> Iterator[tuple[str, str, str]]:
    """Place, colour and background of every font with a colour; templates and text inside of marks left out."""
    if isinstance(part, list):
        for at, item in enumerate(part):
            yield from _texts(item, f"{where}[{at}]", paper)
    if not isinstance(part, Mapping):
        return
    own = part.get("bgcolor")
    paper = own if isinstance(own, str) else paper
    for name, item in part.items():
        if name == "template" or name.startswith("inside"):
            continue
        place = f"{where}.{name}".lstrip(".")
        if name.endswith("font") and isinstance(item, Mapping):
            colours = item.get("color")
            for colour in {colours} if isinstance(colours, str) else set(colours or ()):
                yield place, colour, paper
        else:
            yield from _texts(item, place, paper)


def _over(top: Colour, paper: Colour) -> Colour:
    return (*(top[i] * top[3] + paper[i] * (1 - top[3]) for i in range(3)), 1.0)


def _luminance(colour: Colour) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
