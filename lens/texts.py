"""The text that Lens evaluates models on: three public-domain novels that no shipped model was trained on."""

import re
from functools import cache
from pathlib import Path

TEXTS = Path(__file__).parent / "assets" / "texts"
BOOKS = ("Persuasion", "The Adventures of Tom Sawyer", "Alice's Adventures in Wonderland")
HELD_OUT_NAME = f"{', '.join(BOOKS[:-1])} and {BOOKS[-1]}"
UNIT = "chapters"  # of three books: three are too few to be resampled, and chapters of one book are alike
PASSAGE_NAME = "Alice's Adventures in Wonderland, The Lobster Quadrille"
PASSAGE_START, PASSAGE_END = "'Why,' said the Gryphon, 'you first", "yelled the Gryphon at the top of its voice."
SHORTEST = 200  # characters of a chapter; less is a line of a table of contents


@cache
def held_out() -> tuple[str, ...]:
    """71 chapters, each read for itself: of Austen 1817, Twain 1876 and Carroll 1865, in this order.

    About a million characters. A paragraph is one line. The shipped models were trained on none of it, nor on any
    passage of 50 characters that stands in it; a model of someone else has very likely read all three.
    """
    novels = (TEXTS / "held_out.txt").read_text("utf-8").split("\f")
    return (*novels, *map(unwrapped, chapters((TEXTS / "alice.txt").read_text("utf-8"))))


def chapters(book: str) -> list[str]:
    """The chapters of a book. What stands before the first is left out: titles and credits."""
    parts = re.split(r"(?mi)^(?=chapter\s+[\divxlc]+\b)", book)
    return [part.strip() for part in parts[1:] if len(part) >= SHORTEST]


def unwrapped(text: str) -> str:
    """``text`` with every paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


@cache
def passage() -> str:
    """850 characters of Alice's Adventures in which rare names come again: the Gryphon, the Mock Turtle."""
    (chapter,) = (text for text in held_out() if PASSAGE_START in text)
    start = chapter.index(PASSAGE_START)
    return chapter[start : chapter.index(PASSAGE_END, start) + len(PASSAGE_END)]
