"""Decks: the slides of a talk, each a live view of the app. A deck is a JSON file of addresses.

{"title": "An induction head", "slides": [
    {"link": "attention?reads=repeat&layer=1&head=1", "title": "It attends",
     "question": "Where will it look, the second time?", "note": "Ask first, then press Space."}]}
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from lens.untrusted import NotJson, parse_json

SHIPPED = Path(__file__).parent / "assets" / "decks"
MOST_SLIDES = 100
LONGEST = {"link": 4000, "title": 120, "note": 1000, "question": 300}  # characters


class Slide(NamedTuple):
    """One view, and what is said with it."""

    link: str  # page and query, without a server: "attention?layer=1"
    title: str
    note: str = ""  # for the speaker
    question: str = ""  # stands before the view until the speaker goes on

    @property
    def page(self) -> str:
        """The page's name; "" is Home."""
        return urlsplit(self.link).path.strip("/")

    @property
    def query(self) -> dict[str, str]:
        """What its address says."""
        return dict(parse_qsl(urlsplit(self.link).query, keep_blank_values=True))


class Deck(NamedTuple):
    """A talk."""

    title: str
    slides: tuple[Slide, ...]


def read_deck(text: str, pages: Collection[str]) -> Deck:
    """The deck in a file's text; ``pages``: the names of the pages that links may lead to.

    ValueError says which slide is wrong and what it should be. A link leads to a page of this app and nowhere else.
    """
    try:
        data = parse_json(text)
    except NotJson as error:
        raise ValueError(f"a deck is a JSON file; this one is none: {error}") from None
    slides = data.get("slides") if isinstance(data, dict) else None
    if not isinstance(slides, list) or not slides:
        raise ValueError('a deck is {"title": …, "slides": [{"link": …, "title": …}, …]} with at least one slide')
    if len(slides) > MOST_SLIDES:
        raise ValueError(f"a deck has at most {MOST_SLIDES} slides; this one has {len(slides)}")
    title = data.get("title", "")
    if not isinstance(title, str):
        raise ValueError(f"the deck's title must be text, not {title!r}")
    return Deck(title[: LONGEST["title"]], tuple(_slide(i, slide, pages) for i, slide in enumerate(slides, 1)))


def write_deck(deck: Deck) -> str:
    """The file of a deck; ``read_deck`` reads it back."""
    slides = [
        {name: value for name, value in slide._asdict().items() if value or name == "link"} for slide in deck.slides
    ]
    return json.dumps({"title": deck.title, "slides": slides}, indent=1, ensure_ascii=False)


def shipped() -> dict[str, Path]:
    """The decks that come with Lens, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.json"))}


def _slide(number: int, slide: Any, pages: Collection[str]) -> Slide:
    if not isinstance(slide, Mapping):
        raise ValueError(f"slide {number} must be an object with a link and a title, not {slide!r:.60}")
    unknown = sorted(set(map(str, slide)) - set(Slide._fields))
    if unknown:
        raise ValueError(f"slide {number} has {', '.join(unknown)}; it may have {', '.join(Slide._fields)}")
    for name in ("link", "title"):
        if not isinstance(slide.get(name), str):
            raise ValueError(f"slide {number} has no {name}")
    for name, value in slide.items():
        if not isinstance(value, str) or len(value) > LONGEST[name]:
            raise ValueError(f"slide {number}: {name} must be text of at most {LONGEST[name]:,} characters")
    link = slide["link"].lstrip("/") if not slide["link"].startswith("//") else slide["link"]
    if not _leads_to_a_page(link, pages):
        named = ", ".join(sorted(filter(None, pages)))
        raise ValueError(
            f"slide {number}: a link is a page of this app and its query, not {link!r:.60}; pages: {named}"
        )
    return Slide(**{**slide, "link": link})


def _leads_to_a_page(link: str, pages: Collection[str]) -> bool:
    """Whether a link is the name of a page and its query, and nothing else."""
    try:
        parts = urlsplit(link)
    except ValueError:  # what looks like an address of another machine, and is none
        return False
    return not (parts.scheme or parts.netloc or parts.fragment) and parts.path.strip("/") in pages
