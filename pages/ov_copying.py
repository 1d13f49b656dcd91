"""What would it copy and match, from weights alone?"""

from lens.ui.frame import show_page
from lens.ui.pages.ov_copying import PAGE

show_page(PAGE)
