"""Everything known about this one head: the chain of evidence."""

from lens.ui.frame import show_page
from lens.ui.pages.head import PAGE

show_page(PAGE)
