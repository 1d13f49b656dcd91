"""What was found: the views that a visitor kept, each with a claim and a note."""

from lens.ui.fields import flag
from lens.ui.page import Page

PAGE = Page(
    name="findings",
    section="Show",
    title="Findings",
    question="What was found, and on which view does it rest?",
    icon="keep",
    options=(flag("figures", True),),
)
