"""Do the instruments find a planted circuit and reject a decoy?"""

from pathlib import Path

from lens.planted.plants import NAMES
from lens.ui.fields import choice, word
from lens.ui.page import Page

STYLE = Path(__file__).parents[2] / "assets" / "method.css"
TABS = ("plants", "instruments", "published", "intervals", "numbers")

PAGE = Page(
    name="method",
    section="Trust",
    title="Method",
    question="Do the instruments find a planted circuit and reject a decoy?",
    icon="verified",
    options=(
        word("instrument", "induction"),
        choice("plant", "planted-offset", NAMES),
        choice("more", "plants", TABS),
    ),
)
