"""What a sentence of the app names, as links to its page: heads, layers, tokens and checkpoints.

Words decide what is a name, and the app wrote them. Tokens of a prompt are written with "·" for their spaces, so what a
stranger typed makes no link, and all of a sentence is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from lens.analysis.names import Head
from lens.ui.fields import address
from lens.ui.glossary import explained
from lens.ui.view import query_for
from lens.ui.workshop import is_allowed

if TYPE_CHECKING:
    from lens.ui.view import ViewState

NONE: Mapping[str, str] = MappingProxyType({})
HEAD, NUMBER = r"\d{1,4}\.\d{1,4}", r"\d{1,5}"
NAMED = {  # what stands before its names, the name, what stands after them
    "head": (r"[Hh]ead |[Hh]eads |strongest is ", HEAD, r"\b(?!\.\d)"),
    "layer": (r"[Ll]ayer |[Ll]ayers ", NUMBER, r"\b(?!\.\d)"),
    "position": (r"position |positions ", NUMBER, r" of the prompt\b"),
    "token": (r"", rf"(?<![\w.]){NUMBER}", r" (?=')"),  # 8 '·cat'
}


class Size(Protocol):
    """Of a model: how many there are of what a sentence may name."""

    n_layers: int
    n_heads: int


def with_links(view: ViewState, size: Size, text: str, checkpoints: Mapping[str, str] = NONE) -> str:
    """A sentence as HTML: escaped, its terms explained, and what it names of the open model a link to its page.

    ``checkpoints``: those of the open model, from what a sentence calls them to their revisions.
    """
    pieces, at, seen = [], 0, set()
    for match in _names(tuple(checkpoints)).finditer(text):
        kind = match.lastgroup
        name = re.escape(match[0]) if kind == "checkpoint" else NAMED[kind][1]
        linked = re.sub(name, lambda one, kind=kind: _link(view, size, kind, one[0], checkpoints), match[0])
        pieces += [explained(text[at : match.start()], seen), linked]
        at = match.end()
    return "".join([*pieces, explained(text[at:], seen)])


def _names(checkpoints: tuple[str, ...]) -> re.Pattern[str]:
    """Finds names alone, or with numbers, commas, "to" and "and" between them."""
    kinds = []
    for kind, (before, name, after) in NAMED.items():
        places = [rf"(?<=\b{word})(?<!·{word})" for word in before.split("|")] if before else [""]  # no token
        many = rf"{name}(?:(?:, | and | to ){name})*" if before else name
        kinds += [f"(?:{'|'.join(places)})(?P<{kind}>{many})(?={after})"]
    if checkpoints:
        longest_first = sorted(checkpoints, key=len, reverse=True)
        kinds.append(rf"(?<![\w.,])(?P<checkpoint>{'|'.join(map(re.escape, longest_first))})(?!\w)")
    return re.compile("|".join(kinds))


def _link(view: ViewState, size: Size, kind: str, name: str, checkpoints: Mapping[str, str]) -> str:
    """One name as HTML; as it is where the open model has none of that name."""
    page, fields = "attention", {}
    if kind == "head":
        head = Head(*map(int, name.split(".")))
        if head.layer < size.n_layers and head.head < size.n_heads and str(head) == name:
            page, fields = "head", {"layer": str(head.layer), "head": str(head.head)}
    elif kind == "layer" and int(name) < size.n_layers:
        fields = {"layer": name, "look": "maps"}
    elif kind == "position":
        page, fields = "predictions", {"token": name}
    elif kind == "token":
        fields = {"query": name}
    elif kind == "checkpoint":
        fields = {"revision": checkpoints[name]}
    if not fields or not is_allowed(page):
        return html.escape(name)
    href = address("", page, query_for(view, page) | fields).lstrip("/")
    return f'<a class="lens-go" href="{html.escape(href)}">{html.escape(name)}</a>'
