"""Which heads do what, against chance?"""

from lens.ui.frame import show_page
from lens.ui.pages.head_scores import PAGE

show_page(PAGE)
