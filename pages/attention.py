"""Where does each head look?"""

from lens.ui.frame import show_page
from lens.ui.pages.attention import PAGE

show_page(PAGE)
