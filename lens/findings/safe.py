"""What a stranger's file may draw: charts of the kinds Lens draws, and markup that can show text and nothing else."""

import html
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

KINDS = ("bar", "heatmap", "scatter")  # of traces
# What a chart could fetch from elsewhere: pictures, maps, and data by name of plotly's own server.
FETCHING = re.compile(r"(images|source|geo\d*|mapbox\d*|map\d*|topojson\w*|\w*src)")
LINK = re.compile(r"<\s*a\b", re.IGNORECASE)  # in a label
DEEPEST = 24  # levels of a figure's JSON

TAGS = frozenset({
    "b", "br", "caption", "code", "dd", "div", "dl", "dt", "em", "i", "li", "ol", "p", "small", "span", "strong",
    "style", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
})  # fmt: skip
ATTRIBUTES = frozenset(
    {"border", "class", "colspan", "data-at", "role", "rowspan", "scope", "style", "tabindex", "title"}
)
VOID = frozenset({"br"})
# In CSS: what fetches, what leaves its place, and ways to write either in other letters.
UNSAFE = re.compile(r"url\s*\(|image|src\s*\(|@(?!media\b)|expression|behavior|binding|fixed|[<\\]", re.IGNORECASE)


def check_figure(spec: Any) -> None:
    """ValueError if plotly's JSON of a chart holds what Lens does not draw, or what would be fetched from elsewhere."""
    import plotly.graph_objects as go

    if (
        not isinstance(spec, Mapping)
        or not isinstance(spec.get("data"), list)
        or not isinstance(spec.get("layout", {}), Mapping)
        or not isinstance(spec.get("frames", []), list)
    ):
        raise ValueError("a figure is plotly's JSON, an object with data and layout")
    kinds = [trace.get("type", "scatter") if isinstance(trace, Mapping) else trace for trace in spec["data"]]
    other = [kind for kind in kinds if kind not in KINDS]
    if other:
        raise ValueError(f"a figure has traces of the kinds {', '.join(KINDS)}, not {other[0]!r:.40}")
    for name, value in _leaves(spec):
        if isinstance(value, str) and LINK.search(value):
            raise ValueError(f"no text of a figure holds a link; {name} does")
    try:
        go.Figure(deepcopy(dict(spec)))  # it changes what it is given
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        first = next(filter(None, str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"plotly does not read its figure: {first.strip():.120}") from None


def _leaves(part: Any, name: str = "figure", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All values with the names they have; a name that fetches, or too many levels, is a ValueError."""
    if depth > DEEPEST:
        raise ValueError(f"its figure has more than {DEEPEST} levels")
    if isinstance(part, Mapping):
        for key, value in part.items():
            if FETCHING.fullmatch(str(key)):
                raise ValueError(f"a figure has no {key!s:.40}: nothing of it is fetched from elsewhere")
            yield from _leaves(value, str(key), depth + 1)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _leaves(value, name, depth + 1)
    else:
        yield name, part


def clean(text: str) -> str:
    """Markup that shows what ``text`` does, written anew from its elements and characters.

    ValueError names the first element or attribute that Lens writes in no view, or a style that fetches or covers.
    """
    writer = _Writer()
    writer.feed(text)
    writer.close()
    return "".join(writer.written) + "".join(f"</{tag}>" for tag in reversed(writer.open))


class _Writer(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.written: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            raise ValueError(f"a view has no <{tag:.20}>; it may have {', '.join(sorted(TAGS))}")
        written = ""
        for name, value in attributes:
            if name not in ATTRIBUTES and not re.fullmatch(r"aria-[a-z]{1,20}", name):
                raise ValueError(f"<{tag}> of a view has no {name:.40}; it may have {', '.join(sorted(ATTRIBUTES))}")
            if name == "style":
                _check_style(value or "")
            written += f' {name}="{html.escape(value or "")}"'
        self.written.append(f"<{tag}{written}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while (last := self.open.pop()) != tag:
                self.written.append(f"</{last}>")
            self.written.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            _check_style(data)
            self.written.append(data)
        else:
            self.written.append(html.escape(data, quote=False))

    def handle_comment(self, data: str) -> None:
        raise ValueError("a view has no comments")

    def handle_decl(self, decl: str) -> None:
        raise ValueError("a view is a part of a page, without a declaration")

    def unknown_decl(self, data: str) -> None:
        raise ValueError("a view is a part of a page, without a declaration")

    def handle_pi(self, data: str) -> None:
        raise ValueError("a view has no instructions")


def _check_style(text: str) -> None:
    unsafe = UNSAFE.search(text)
    if unsafe:
        raise ValueError(f"a style of a view fetches nothing and stays in its place; this one has {unsafe[0]!r:.20}")
