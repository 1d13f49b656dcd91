"""Do the instruments find a planted circuit and reject a decoy?"""

from lens.ui.pages.method.introduction import introduce
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    above, place = introduce()
    # Only now, so that a visitor reads what the page does while torch is imported.
    from lens.ui.pages.method import card
    from lens.ui.widgets import show_tabs

    with above:
        seqs, seed = card.controls(view)
    found = card.read_rows(view, seqs, seed, place)
    rows = found.rows
    card.show_card(view, rows, place)
    card.show_measured(found)
    card.show_row(view, rows)
    show_tabs(view, "more", card.TABS, view, rows)
    card.take_away(view, rows)
