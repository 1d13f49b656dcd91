"""What is known about this one head?"""

from lens.ui.fields import choice
from lens.ui.page import Page
from lens.ui.shared import reads

PAGE = Page(
    name="head",
    section="Score",
    title="One head",
    question="What is known about this one head?",
    icon="center_focus_strong",
    options=(reads.FIELD, choice("radius", "linear", ("linear", "log"))),
    prompt=True,
    compares=True,
)
