"""Why does this head look there?"""

from lens.ui.frame import show_page
from lens.ui.pages.qk_attribution import PAGE

show_page(PAGE)
