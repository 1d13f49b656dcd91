"""Which neurons fire on what?"""

from lens.ui.frame import show_page
from lens.ui.pages.neurons import PAGE

show_page(PAGE)
