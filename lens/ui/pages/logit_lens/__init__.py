"""When does the answer appear?"""

from lens.ui.fields import choice, flag, integer, text
from lens.ui.page import Page

NUMBERS = {
    "prob": "Probability",
    "logprob": "Log-probability",
    "rank": "Rank",
    "top": "Its own top token",
    "entropy": "Entropy",
    "kl": "KL to the output",
}
ABOUT = {"final": "what the output says", "next": "what came next"}
SOURCES = {"stream": "Stream", "attention": "Attention's writes", "mlp": "MLPs' writes"}
DECODERS = {"raw": "Raw", "fitted": "Fitted"}
LONGEST = 256  # tokens of a prompt
COLUMNS = 48  # positions of the table, with their words
LONGEST_ANSWER = 60  # characters

PAGE = Page(
    name="logit_lens",
    section="Attribute",
    title="Logit lens",
    question="When does the answer appear?",
    icon="layers",
    options=(
        choice("number", "prob", tuple(NUMBERS)),
        choice("about", "final", tuple(ABOUT)),
        choice("source", "stream", tuple(SOURCES)),
        choice("decoder", "raw", tuple(DECODERS)),
        flag("mid", False),
        integer("position", None, high=LONGEST),
        integer("row", None, high=9999),
        integer("start", None, high=LONGEST),
        text("answer", "", LONGEST_ANSWER),
        flag("numbers", False),
    ),
    prompt=True,
    compares=True,
)
