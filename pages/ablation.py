"""Does the behaviour need it?"""

from lens.ui.frame import show_page
from lens.ui.pages.ablation import PAGE

show_page(PAGE)
