"""Ending a page early, with the frame's own end: unlike after ``st.stop``, the frame can still draw."""

from typing import NoReturn


class PageOver(Exception):
    """Nothing more to show on this page in this run. The frame swallows it."""


def end_page() -> NoReturn:
    """End the page here, after a sentence that says why."""
    raise PageOver
