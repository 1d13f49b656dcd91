"""Do the instruments find a planted circuit and reject a decoy?"""

from lens.ui.pages.method.introduction import introduce
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    above, place = introduce()
    # Only now, so that a visitor reads what the page does while torch is imported.
    from lens.ui import parts
    from lens.ui.pages.method import card, words

    with above:
        seqs, seed = card.controls(view)
    rows = card.read_rows(view, seqs, seed, place)
    card.show_card(view, rows, place)
    card.show_row(view, rows)
    card.show_more(view, rows)
    parts.misreading(words.MISREADING)
    card.take_away(view, rows)
