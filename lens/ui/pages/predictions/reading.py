"""What is next at every token of the prompt: the strip in colours, and the likeliest tokens after one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.answer.predictions import DEFINITION, Prediction, predict
from lens.analysis.loss import text_stats
from lens.figures.candidates import Candidate, candidates
from lens.figures.fitted import PHONE, narrow
from lens.figures.strip import token_strip
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.components import chips
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.pages.predictions import COLOURS, TOP, words
from lens.ui.shared.compare.per_token import Scored
from lens.ui.shared.scored_tokens import COLOUR_HELP, Tokens, colouring, hovers, scored_tokens, unscored_token
from lens.ui.widgets import number, segmented

if TYPE_CHECKING:
    from lens.figures.drawn import Drawn
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.pages.predictions.change import Answers, Changed
    from lens.ui.view import ViewState

TOP_HELP = "How many of the likeliest tokens to show."
CUT = 400  # tokens above which the strip scrolls


class Chosen(NamedTuple):
    """The position after which the next token is asked for, and what the strip is coloured by."""

    pos: int
    colour: str
    top: int


def choose(view: ViewState, prompt: Prompt) -> Chosen:
    """The choosers above the strip. Without a choice the last token is the position."""
    n = len(prompt.labels)
    if view["token"] is not None and view["token"] >= n:
        view.note(f"token {view['token']} does not exist in this prompt ({n} tokens): showing the last")
        view.set(token=None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        colour = segmented(view, "colour", COLOURS, "Colour", COLOUR_HELP, format_func=str.capitalize)
        top = int(number(view, "top", (1, TOP), "Candidates", TOP_HELP, width=130))
    return Chosen(n - 1 if view["token"] is None else view["token"], colour, top)


class Bars(NamedTuple):
    """How a figure of the likeliest tokens is headed, and the probability that its axis reaches."""

    title: str
    key: str
    largest: float
    about: str = ""


def draw(
    view: ViewState,
    model: HookedTransformer,
    prompt: Prompt,
    chosen: Chosen,
    answers: Answers,
    changed: Changed | None,
) -> Scored | None:
    """Strip, bars, answers, and what is to be said of them. What is known of each token; None of one token alone."""
    tokens = _scored(model, prompt)
    html = _strip(view, model, tokens, chosen)
    args = (model, prompt.tokens, chosen.pos, answers.ids, TOP)
    found = analyse(predict, *args)
    twin = None if changed is None else analyse(predict, *args, changed.change)
    actual = int(tokens.ids[chosen.pos + 1]) if chosen.pos + 1 < len(tokens.ids) else None
    columns = st.columns([1, 1], gap="large")
    where = f"{chosen.pos}: {tokens.labels[chosen.pos]}"
    largest = max(float(np.exp(side.top_logprob[0])) for side in (found, twin) if side is not None)
    with columns[0]:
        figure = _bars(model, found, chosen.top, actual, Bars(f"Next after {where}", "predictions:next", largest))
    with columns[1]:
        if twin is not None:
            bars = Bars("The same in the twin", "predictions:twin", largest, f"The twin: {changed.words}.")
            _bars(model, twin, chosen.top, actual, bars)
        if len(found.answers):
            alt = "The answers with their ranks and probabilities"
            parts.table(answer_table(model, found, twin), alt)
        beside = st.container()
    notice = [words.next_token(model, found, where, actual), words.of_answers(model, found)]
    notice += [] if twin is None else [words.of_twin(model, found, twin, changed.words)]
    explanation = Explanation(
        tuple(filter(None, notice)),
        words.READING_MISREADING,
        measured=(("Sample", words.READING_SAMPLE),),
        formula=words.READING_FORMULA,
        where=words.READING_WHERE,
    )
    with beside if twin is None else st.container():  # no half of the page stays empty
        explain(view, model, explanation)
    payload = {"position": chosen.pos, **found._asdict(), "twin": None if twin is None else twin._asdict()}
    rows = candidate_table(model, found)
    payload["html"] = html
    export(view, Export("predictions", figure, rows, payload, code(chosen, answers)))
    return Scored(prompt, tokens.by) if len(tokens.ids) > 1 else None


def _scored(model: HookedTransformer, prompt: Prompt) -> Tokens:
    """The prompt with what is known of each token; of one token alone nothing is."""
    ids = prompt.tokens[0].numpy()
    if len(ids) < 2:
        return unscored_token(prompt.labels, ids)
    with st.container():
        stats, _ = analyse(text_stats, model, prompt.tokens, progress=True)
    return scored_tokens(model, prompt.labels, ids, stats)


def _strip(view: ViewState, model: HookedTransformer, tokens: Tokens, chosen: Chosen) -> str:
    values, scale = colouring(tokens, chosen.colour, model.cfg.d_vocab)
    guesses = np.flatnonzero(tokens.by.is_guess)
    html = token_strip(tokens.labels, values, scale=scale, hover=hovers(tokens), selected=[chosen.pos], marked=guesses)
    with st.container(height=420 if len(tokens.ids) > CUT else "content", border=False):
        chips(view, "token", html, chosen.pos, key="predictions:strip")
    return html


def _bars(model: HookedTransformer, found: Prediction, top: int, actual: int | None, bars: Bars) -> Drawn:
    """The likeliest tokens, and the answers that are not among them."""
    ids, probs = found.top[:top], np.exp(found.top_logprob[:top])
    labels = token_labels(model, ids)
    rows = [
        Candidate(label, float(prob), rank, int(i) == actual)
        for rank, (i, label, prob) in enumerate(zip(ids, labels, probs), start=1)
    ]
    others = [
        Candidate(label, float(np.exp(logprob)), int(rank) + 1, int(i) == actual)
        for i, label, logprob, rank in zip(found.answers, token_labels(model, found.answers), found.logprob, found.rank)
        if i not in ids
    ]
    rows += sorted(others, key=lambda row: row.rank)
    alt = f"{bars.title}. {bars.about} " + "; ".join(f"{row.label} {row.prob:.3f}" for row in rows)
    definition = f"{bars.about} {DEFINITION} Here {found.entropy:.2f} nats.".strip()
    figure = narrow(candidates(rows, title=bars.title, definition=definition, largest=bars.largest), PHONE)
    parts.chart(figure, alt, key=bars.key)
    return figure


def candidate_table(model: HookedTransformer, found: Prediction) -> pd.DataFrame:
    """One row per token that is likely or an answer."""
    ids = np.concatenate([found.top, found.answers])
    return pd.DataFrame({
        "token": token_labels(model, ids),
        "id": ids,
        "logit": np.concatenate([found.top_logit, found.logit]),
        "log-probability (nats)": np.concatenate([found.top_logprob, found.logprob]),
        "probability": np.exp(np.concatenate([found.top_logprob, found.logprob])),
        "rank (from 1)": np.concatenate([np.arange(len(found.top)), found.rank]) + 1,
    })  # fmt: skip


def answer_table(model: HookedTransformer, found: Prediction, twin: Prediction | None) -> pd.DataFrame:
    """One row per answer; beside it the twin's numbers, where there is one."""
    columns = {
        "answer": token_labels(model, found.answers),
        "rank (from 1)": found.rank + 1,
        "probability": np.exp(found.logprob),
        "logit": found.logit,
    }
    if twin is not None:
        columns |= {"rank in the twin": twin.rank + 1, "probability in the twin": np.exp(twin.logprob)}
    return pd.DataFrame(columns)


def code(chosen: Chosen, answers: Answers) -> str:
    """The Python that predicts the next token again."""
    return (
        "from lens.analysis.answer.predictions import predict\n\n"
        f"found = predict(model, tokens, {chosen.pos}, {answers.ids}, {chosen.top})\n"
        "for token, logprob in zip(found.top.tolist(), found.top_logprob.exp().tolist()):\n"
        '    print(token, f"{logprob:.5f}")\n'
    )
