"""What is this model made of, and what will not work?"""

from lens.ui.frame import frame
from lens.ui.pieces.model_options import OPTIONS, PARTS
from lens.ui.pieces.model_show import show_part
from lens.ui.widgets import tabs

with frame("Model", question="What is this model made of, and what will not work?", options=OPTIONS) as view:
    part, body = tabs(view, "part", PARTS)
    with body:
        show_part(view, part)
