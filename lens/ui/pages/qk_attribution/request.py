"""The page's widgets and what they ask for: a head and where it looks; then why it does."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from lens.analysis.answer.reasons import DRAWS, cell_reasons
from lens.analysis.habits import strongest_keys
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.ending import end_page
from lens.ui.models import Prompt, model_key, read_prompt
from lens.ui.pages.qk_attribution import WHERE
from lens.ui.shared import heads, reasons, repeats
from lens.ui.shared.patterns import attention
from lens.ui.shared.reasons import Answer
from lens.ui.waiting import started
from lens.ui.widgets import bind, head_picker, segmented

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

LONGEST = 64  # tokens of a prompt that is asked about: its pattern is clicked on
WHERE_HELP = (
    "**Its stripe:** on random tokens that repeat, the place after the query's own token in the first copy: where an "
    "induction head looks. **A cell:** one query and one key of your prompt; click it in the pattern."
)
QUERY_HELP = "The token that looks. A click on a cell of the pattern chooses query and key."
KEY_HELP = (
    "The token it looks at. Unless you choose, the one with the most attention. The first token is left out: heads "
    "rest there, and it stands on neither side of the contrast."
)

SENTENCE = "What head {} reads is not split and cut yet: three runs up to its layer, and four from there on."


class Request(NamedTuple):
    """A head and where it looks."""

    model: "HookedTransformer"
    head: Head
    sample: repeats.Sample
    prompt: Prompt | None  # None: the stripe of the repeats
    query: int = 0
    key: int = 0

    @property
    def tokens(self) -> np.ndarray:
        """The text whose pattern is drawn: the prompt, or the first of the repeats."""
        return self.sample.repeated.tokens[0] if self.prompt is None else self.prompt.tokens[0].cpu().numpy()

    @property
    def place(self) -> str:
        """Where it looks, in words."""
        if self.prompt is None:
            return "its stripe"
        return f"{self.key} {self.prompt.labels[self.key].strip()}"


def choose(view: "ViewState", model: "HookedTransformer") -> Request:
    """The row of widgets; the page ends, with the reason, where there is nothing to ask."""
    if why := reasons.why_not(model):
        parts.not_computed(why)
        end_page()
    row = st.container(horizontal=True, vertical_alignment="bottom", key="qk-controls")
    sample = repeats.sample(model, repeats.settings(view, model))
    best = largest_head(sample.scores[reasons.SCORE].score.mean)
    heads.go(view, heads.current(view, best))
    with row:
        where = segmented(view, "where", tuple(WHERE), "Where it looks", WHERE_HELP, format_func=WHERE.get)
        head = head_picker(view, model.cfg.n_layers, model.cfg.n_heads)
        heads.pin_button(view, head, "qk:pin")
        heads.best_button(view, head, best, "Strongest induction head:", "qk:best")
        if where == "stripe":
            return Request(model, head, sample, None)
        return _choose_cell(view, Request(model, head, sample, prompt_of(view, model)))


def prompt_of(view: "ViewState", model: "HookedTransformer") -> Prompt:
    """The prompt, long enough for a contrast; else the page ends with the reason."""
    if model.tokenizer is None:
        parts.empty_state("This model has no tokenizer, so it reads no prompt. Ask about its stripe on repeats.")
    prompt = read_prompt(view, model, LONGEST)
    if len(prompt.labels) < 3:
        parts.empty_state("A contrast needs a key beside the first token and the one asked about. Type a longer text.")
    return prompt


def _choose_cell(view: "ViewState", request: Request) -> Request:
    """Query and key of the prompt; keys that cannot be asked about are moved, with a note."""
    labels = request.prompt.labels
    last = len(labels) - 1
    query = last if view.values()["query"] is None else view["query"]
    if query < 2:
        view.note(f"query {query} sees no key beside the first token and one other: showing {last}")
        view.set(query=None)
        query = last
    pattern = attention(request.model, request.tokens, request.head)
    key = view.values()["key"]
    if key is not None and not 0 < key <= query:
        view.note(f"key {key} is the first token or comes after query {query}: showing its strongest other key")
        view.set(key=None)
        key = None
    if key is None:
        others = [look.key for look in strongest_keys(pattern, query, query + 1) if look.key > 0]
        key = others[0] if others else query
    query, key = (_position(view, *one, labels) for one in (("query", query, 2, last), ("key", key, 1, query)))
    return request._replace(query=query, key=key)


def _position(view: "ViewState", name: str, value: int, low: int, high: int, labels: list[str]) -> int:
    names = [f"{place}: {labels[place]}" for place in range(low, high + 1)]
    seed = bind(view, name, names[value - low], lambda key: view.set(**{name: _place(st.session_state[key])}))
    help = QUERY_HELP if name == "query" else KEY_HELP
    st.selectbox(name.capitalize(), names, value - low, help=help, width=160, **seed)
    return value


def _place(name: str) -> int:
    return int(name.split(":")[0])


def compute(view: "ViewState", request: Request) -> Answer | None:
    """Why it looks there; None while long work waits for a click."""
    model, head, seed = request.model, request.head, int(view["seed"])
    if request.prompt is None:
        key = f"qk-{model_key(model)}-{head}-{request.sample.settings}"
        if not started(key, reasons.stripe_seconds(model, head, request.sample), SENTENCE.format(head)):
            return None
        return reasons.stripe_answer(model, head, request.sample, seed)
    args = (model, head, request.prompt.tokens, request.query, request.key, seed)
    estimated, known = reasons.seconds(model, head.layer, DRAWS * len(request.tokens)), is_kept(cell_reasons, *args)
    wait = estimated if estimated > reasons.WAIT else 0.0
    if not started(call_key(cell_reasons, args, {}), wait, SENTENCE.format(head), known):
        return None
    return reasons.answer(analyse(cell_reasons, *args, progress=True), reasons.known(request.sample), seed, True)
