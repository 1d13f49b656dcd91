"""What is this, and where do I begin?"""

from lens.ui.page import Page

PAGE = Page(
    name="home",
    section="Start",
    title="Home",
    question="What is this, and where do I begin?",
    icon="home",
    options=(),
)
