"""Do the instruments find a planted circuit and reject a decoy?"""

from lens.ui.frame import show_page
from lens.ui.pages.method import PAGE

show_page(PAGE)
