"""Where does the information sit, and where does it move?"""

from lens.ui.frame import show_page
from lens.ui.pages.patching import PAGE

show_page(PAGE)
