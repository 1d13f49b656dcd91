"""When was it born?"""

from lens.ui.frame import show_page
from lens.ui.pages.training_dynamics import PAGE

show_page(PAGE)
