"""Which earlier head feeds it?"""

from lens.ui.frame import show_page
from lens.ui.pages.composition import PAGE

show_page(PAGE)
