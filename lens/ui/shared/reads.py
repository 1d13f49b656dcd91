"""What heads read on a page of patterns: the prompt, or random tokens that repeat. Imports no torch."""

from typing import TYPE_CHECKING

from lens.ui.fields import choice
from lens.ui.widgets import segmented

if TYPE_CHECKING:
    from lens.ui.view import ViewState

READS = {"repeat": "Random repeat", "prompt": "Prompt"}
FIELD = choice("reads", "prompt", tuple(READS))._replace(joint=True)
ON_REPEAT = {"reads": "repeat"}  # of an address: what Head scores, Home and the other links of the chain measure on
HELP = (
    "**Random repeat:** the first of the sequences of random tokens, each twice, that Head scores measures on; the "
    "cells that the score averages are outlined in orange. **Prompt:** the text above."
)


def choose_reads(view: "ViewState") -> str:
    """The switch."""
    return segmented(view, "reads", tuple(READS), "Reads", HELP, format_func=READS.get)
