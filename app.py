"""Home: what Lens is and where to begin."""

from lens.ui.frame import show_page
from lens.ui.pages.home import PAGE

show_page(PAGE)
