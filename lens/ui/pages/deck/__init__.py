"""The slides of a talk, each a live page."""

from lens.ui.fields import integer, mark, word
from lens.ui.page import Page

FIRST = "chain"  # of the decks that come with Lens
OWN = "own"  # the deck that this visitor opened from a file

PAGE = Page(
    name="deck",
    section="Show",
    title="Deck",
    question="What is the talk, slide by slide?",
    icon="co_present",
    options=(word("deck", FIRST), integer("slide", 1, low=1, high=999), mark("play")),
)
