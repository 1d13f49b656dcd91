"""Heads that a sentence of the app names, as links to their pages."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from lens.analysis.names import Head
from lens.ui.fields import address
from lens.ui.glossary import explained
from lens.ui.view import query_for

if TYPE_CHECKING:
    from lens.config import Config
    from lens.ui.view import ViewState

PAGE = "head"  # the address of the page of one head
NAME = r"\d{1,4}\.\d{1,4}"
# A name stands after "head", "heads" or "strongest is" and a space. Tokens of a prompt are written with "·" for theirs,
# so what a stranger typed makes no link; a number is no head either, unless a sentence calls it one.
MANY = rf"{NAME}(?:(?:, | and ){NAME})*"
NAMED = re.compile(rf"(?:(?<=\b[Hh]ead ){NAME}|(?<=\b[Hh]eads ){MANY}|(?<=strongest is ){NAME})\b(?!\.\d)")


def with_links(view: ViewState, cfg: Config, text: str) -> str:
    """A sentence as HTML: escaped, its terms explained, and each head of the open model that it names a link to it."""
    pieces, at, seen = [], 0, set()
    for found in NAMED.finditer(text):
        linked = re.sub(NAME, lambda name: _link(view, cfg, name[0]), found[0])  # numbers, commas and "and"
        pieces += [explained(text[at : found.start()], seen), linked]
        at = found.end()
    return "".join([*pieces, explained(text[at:], seen)])


def _link(view: ViewState, cfg: Config, name: str) -> str:
    head = Head(*map(int, name.split(".")))
    if head.layer >= cfg.n_layers or head.head >= cfg.n_heads or str(head) != name:
        return name
    query = query_for(view, PAGE) | {"layer": str(head.layer), "head": str(head.head)}
    return f'<a class="lens-go" href="{html.escape(address("", PAGE, query).lstrip("/"))}">{name}</a>'
