"""What does the model read, and where is it surprised?"""

from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.pieces.tokens_options import OPTIONS, PARTS
from lens.ui.widgets import tabs

with frame("Tokens", question="What does the model read, and where is it surprised?", options=OPTIONS) as view:
    model = open_model(view)
    part, body = tabs(view, "part", PARTS)
    with body:
        if part == "prompt":
            from lens.ui.pieces.tokens_prompt import show_prompt

            show_prompt(view, model)
        elif part == "cut":
            from lens.ui.pieces.tokens_cut import show_cut

            show_cut(view, model)
        elif part == "padding":
            from lens.ui.pieces.tokens_padding import show_padding

            show_padding(view, model)
        else:
            from lens.ui.pieces.tokens_repeat import show_repeat

            show_repeat(view, model)
