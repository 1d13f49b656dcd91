"""What is known of a page before anything heavy is imported."""

from threading import RLock
from typing import NamedTuple

from lens.ui.fields import Field

IMPORTS = RLock()  # held where torch and what needs it are imported: pages that start at once would meet half a module


class Page(NamedTuple):
    """A page of the app. Its folder in ``lens.ui.pages`` and its address are both called ``name``.

    ``__init__`` of the folder holds this and imports no torch. ``body`` draws the page and may import what it likes: it
    is imported when the frame is on screen.
    """

    name: str
    section: str  # of the menu
    title: str
    question: str
    icon: str  # one of Streamlit's bundled Material icons
    options: tuple[Field, ...] = ()  # the page's own fields of the address
    prompt: bool = False  # whether it reads the prompt: only then is there a box for it
    compares: bool = False  # whether a second model or prompt can stand beside the first (``lens.ui.shared.compare``)

    @property
    def path(self) -> str:
        """The address under the app's root; Home has none."""
        return "" if self.name == "home" else self.name

    @property
    def file(self) -> str:
        """The script that shows it, relative to the repository."""
        return f"pages/{self.name}.py" if self.path else "app.py"
