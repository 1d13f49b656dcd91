"""Everything known about this one head: the chain of evidence."""

from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.pieces import head as page

with frame("One head", question="What is known about this one head?", options=page.OPTIONS) as view:
    model = open_model(view)
    head, data = page.choose_head(view, model)
    found = page.show_chain(view, model, head, data)
    page.explain(view, model, head, found)
    page.take_away(view, model, head, data, found)
