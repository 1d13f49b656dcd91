"""What would it copy and match, from weights alone?"""

from lens.ui.fields import choice, integer, text
from lens.ui.page import Page

CIRCUITS = {"full": "Full", "residual": "Residual"}
EMBEDDINGS = {"tokens": "Tokens", "first_mlp": "+ first MLP"}
WEIGHTS = {"folded": "Folded", "raw": "Raw"}
RADIUS = {"linear": "Linear", "log": "Log"}
NULLS = {"head": "In the head", "model": "In the stream", "gaussian": "Gaussian"}
ON = {"repeats": "Repeats", "text": "Text"}
TABS = ("tokens", "together", "scatter", "data", "match", "directions", "table")

PAGE = Page(
    name="ov_copying",
    section="Weights",
    title="OV copying",
    question="What would it copy and match, from weights alone?",
    icon="content_copy",
    compares=True,
    options=(
        choice("circuit", "full", tuple(CIRCUITS)),
        choice("embedding", "tokens", tuple(EMBEDDINGS)),
        choice("weights", "folded", tuple(WEIGHTS)),
        choice("radius", "linear", tuple(RADIUS)),
        choice("null", "head", tuple(NULLS)),
        choice("more", "tokens", TABS),
        text("attended", " Mary", 60),
        integer("token", 1000),
        integer("distance", 0, high=4096),
        integer("topk", 10, low=1, high=1000),
        choice("on", "repeats", tuple(ON)),
        choice("side", "OV", ("OV", "QK")),
    ),
)
