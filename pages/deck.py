"""Deck: the slides of a talk, each a live page."""

from lens.ui.frame import show_page
from lens.ui.pages.deck import PAGE

show_page(PAGE)
