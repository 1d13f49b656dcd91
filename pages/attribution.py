"""Which component pushes it?"""

from lens.ui.frame import show_page
from lens.ui.pages.attribution import PAGE

show_page(PAGE)
