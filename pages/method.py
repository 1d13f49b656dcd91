"""Do the instruments find a planted circuit and reject a decoy?"""

from lens.ui.frame import frame
from lens.ui.pieces.method_options import OPTIONS, introduce

QUESTION = "Do the instruments find a planted circuit and reject a decoy?"

with frame("Method", question=QUESTION, options=OPTIONS) as view:
    above, place = introduce()
    from lens.ui import parts
    from lens.ui.pieces import method, method_words

    with above:
        seqs, seed = method.controls(view)
    rows = method.read_rows(view, seqs, seed, place)
    method.show_card(view, rows, place)
    method.show_row(view, rows)
    method.show_more(view, rows)
    parts.misreading(method_words.MISREADING)
    method.take_away(view, rows)
