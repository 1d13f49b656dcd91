"""What does it say next, how sure, and what does it write, also when changed?"""

from lens.ui.frame import show_page
from lens.ui.pages.predictions import PAGE

show_page(PAGE)
