"""Findings: the views that were kept, each with a claim."""

from lens.ui.frame import show_page
from lens.ui.pages.findings import PAGE

show_page(PAGE)
