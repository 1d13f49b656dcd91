"""All heads: every head against every instrument."""

from lens.ui.frame import show_page
from lens.ui.pages.all_heads import PAGE

show_page(PAGE)
