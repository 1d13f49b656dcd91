"""What does the model read, and where is it surprised?"""

from lens.ui.frame import show_page
from lens.ui.pages.tokens import PAGE

show_page(PAGE)
