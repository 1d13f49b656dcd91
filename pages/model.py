"""What is this model made of, and what will not work?"""

from lens.ui.frame import show_page
from lens.ui.pages.model import PAGE

show_page(PAGE)
