"""Ending a page early, with the frame's own end: unlike after ``st.stop``, the frame can still draw."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class PageOver(Exception):
    """Nothing more to show on this page in this run. The frame swallows it."""


def end_page() -> NoReturn:
    """End the page here, after a sentence that says why."""
    raise PageOver


@contextmanager
def part_of_page() -> Iterator[None]:
    """A part that stands beside the rest: what ends the page in this block ends the block alone."""
    try:
        yield
    except PageOver:
        return
