"""The list of all instruments, as pages offer it. Imports no torch."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.registry import HEAD_SCORES, by_link
from lens.ui.shared.wording import capital
from lens.ui.widgets import select

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Instrument
    from lens.ui.view import ViewState


def grouped() -> "tuple[Instrument, ...]":
    """All instruments, those of one link of the chain together, links in its order."""
    return tuple(instrument for group in by_link().values() for instrument in group)


def label(instrument: "Instrument") -> str:
    """Its link and its title, as a list of all instruments writes them."""
    return f"{capital(instrument.link)} · {instrument.title}"


def choose(view: "ViewState", title: str, help: str) -> "Instrument":
    """The list of all instruments, links together; an unknown one becomes the first of scores, with a note."""
    every = {instrument.name: instrument for instrument in grouped()}
    view.one_of("score", (HEAD_SCORES[0], *every))
    written = {name: label(instrument) for name, instrument in every.items()}
    return every[select(view, "score", tuple(every), title, help, format_func=written.get, width=300)]
