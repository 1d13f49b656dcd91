"""What does the model read, and where is it surprised?"""

from lens.ui.frame import show_page
from lens.ui.pages.logit_lens import PAGE

show_page(PAGE)
