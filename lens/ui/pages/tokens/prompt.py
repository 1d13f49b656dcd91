"""The prompt as the model reads it: the strip of tokens, what it expected at one of them, what it lost."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from lens.analysis.bos_effect import DEFINITION, bos_effect
from lens.analysis.loss import (
    LOSS,
    LossSummary,
    NextToken,
    share_of_most_surprising,
    text_stats,
)
from lens.figures.candidates import Candidate, candidates
from lens.figures.fitted import PHONE, narrow
from lens.figures.strip import token_strip
from lens.hooked import HookedTransformer
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.components import chips
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.models import read_prompt
from lens.ui.pages.tokens import COLOURS, TOP, compared
from lens.ui.shared.compare.per_token import Scored
from lens.ui.shared.scored_tokens import COLOUR_HELP, Tokens, colouring, hovers, scored_tokens
from lens.ui.view import ViewState
from lens.ui.widgets import bind, fold, number, segmented

MISREADING = (
    "A small loss is not understanding: text that repeats itself, fixed phrases and second halves of words are cheap. "
    "A large loss is not an error either: where several words fit, even a perfect model must be surprised. Losses per "
    "token of two models compare only if both cut the text into the same tokens."
)
BOS_MISREADING = (
    "A lower loss with BOS does not say that BOS tells the model anything: many heads rest on the first token, and "
    "without BOS a word of the text stands there. It is one text; another may go the other way."
)
FORMULA = r"L_t = -\ln P(x_t \mid x_0 \dots x_{t-1}), \qquad \text{perplexity} = e^{\frac1n \sum_t L_t}"
WHERE = "x₀ is BOS where one stands first. The first token has no prediction: it has no loss and is not counted in n."


def table(tokens: Tokens) -> pd.DataFrame:
    """One row per token, ready to sort and to save."""
    predicted = tokens.by.rank >= 0
    columns = {
        "position": np.arange(len(tokens.ids)),
        "token": list(tokens.labels),
        "id": tokens.ids,
        "bytes": list(tokens.bytes),
        "loss (nats)": tokens.by.loss,
        "probability": tokens.by.prob,
        "rank": pd.Series(1 + tokens.by.rank, dtype="Int64").where(predicted),
        "entropy (nats)": tokens.by.entropy,
        "top guess": tokens.by.is_guess,
    }
    return pd.DataFrame(columns)


def draw(view: ViewState, model: HookedTransformer) -> None:
    """The whole tab."""
    prompt = read_prompt(view, model, limits().text_tokens)
    ids = prompt.tokens[0].numpy()
    if len(ids) < 2:
        st.html(token_strip(prompt.labels))
        parts.not_computed("this is one token: the first has no prediction. Type more, or put BOS in front.")
        parts.provenance(view, model)
        return
    with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
        stats, summary = analyse(text_stats, model, prompt.tokens, top_k=min(TOP, model.cfg.d_vocab), progress=True)
    tokens, d_vocab = scored_tokens(model, prompt.labels, ids, stats), model.cfg.d_vocab
    chosen = _chosen(view, tokens)
    html = _strip(view, tokens, chosen, summary, d_vocab)
    explain(view, model, Explanation(notice(tokens, summary, d_vocab), MISREADING, formula=FORMULA, where=WHERE))
    beside = st.container()
    left, right = st.columns([3, 2], gap="large")
    with left:
        _expected(view, model, tokens, stats, chosen)
    rows = table(tokens)
    with right:
        st.markdown("**Most surprising tokens**")
        first = rows.iloc[tokens.by.worst[:9]][["position", "token", "loss (nats)", "rank"]]
        alt = "The tokens with the largest loss, largest first"
        st.dataframe(first, hide_index=True, column_config=_columns(), alt=alt)
    box = fold(view, "table", "All tokens")
    if box.open:
        config = {"probability": st.column_config.NumberColumn(format="%.6f")}
        box.dataframe(rows, hide_index=True, column_config=config, alt="Every token with its numbers; sortable")
    box = fold(view, "compare", "What the BOS token changes")
    if box.open:
        with box:
            _bos(view, model)
    payload = {"summary": summary._asdict(), "tokens": json.loads(rows.to_json(orient="records"))}
    export(view, Export("tokens", html, rows, payload, code(len(ids))))
    compared.draw(view, model, beside, Scored(prompt, tokens.by))


def code(n: int) -> str:
    """The Python that computes the mean loss again."""
    return (
        "from lens.analysis.loss import text_stats\n\n"
        f"stats, summary = text_stats(model, tokens[:, :{n}])\n"
        "print(summary)  # mean_loss in nats\n"
        "print(stats.loss[0])  # entry p is about the token at p + 1"
    )


def notice(tokens: Tokens, summary: LossSummary, d_vocab: int) -> str:
    """What to see in the strip, from its numbers."""
    right, by = round(summary.accuracy * summary.n), tokens.by
    at = by.worst[0]
    text = (
        f"The model's top guess was right for {right} of {summary.n} tokens. It loses {summary.mean_loss:.2f} nats a "
        f"token, where an even guess among its {d_vocab:,} tokens loses {np.log(d_vocab):.2f}. "
        f"It is most surprised by {tokens.labels[at]} at position {at} of the prompt: "
        f"{by.loss[at]:.2f} nats, {by.rank[at]:,} tokens seemed likelier."
    )
    if summary.n < 6:
        return text
    share = share_of_most_surprising(by.loss, 3)
    return f"{text} The three most surprising tokens hold {share:.0%} of the whole loss."


def _chosen(view: ViewState, tokens: Tokens) -> int:
    """The position that is explained: of the most surprising token unless the view names another."""
    if view["token"] is not None and view["token"] >= len(tokens.ids):
        view.note(f"token {view['token']} does not exist in this prompt ({len(tokens.ids)} tokens)")
        view.set(token=None)
    return int(tokens.by.worst[0]) if view["token"] is None else view["token"]


def _strip(view: ViewState, tokens: Tokens, chosen: int, summary: LossSummary, d_vocab: int) -> str:
    """Colour switch, strip and summary; returns the strip's HTML."""
    name = segmented(view, "colour", COLOURS, "Colour", COLOUR_HELP, format_func=str.capitalize)
    values, scale = colouring(tokens, name, d_vocab)
    guesses = np.flatnonzero(tokens.by.is_guess)
    html = token_strip(tokens.labels, values, scale=scale, hover=hovers(tokens), selected=[chosen], marked=guesses)
    with st.container(height=420 if len(tokens.ids) > 400 else "content", border=False):
        chips(view, "token", html, chosen, key="tokens:strip")
    with st.container(horizontal=True, gap="large"):
        _summary(summary, d_vocab)
    return html


def _summary(summary: LossSummary, d_vocab: int) -> None:
    help, even = parts.metric_help, f"{np.log(d_vocab):.2f}, an even guess"
    perplexity_help = "e to the mean loss: among how many equally likely tokens it seems to choose."
    right_help = help("Share of the tokens that were the top guess (rank 1).", "share", f"{1 / d_vocab:.2g}")
    for label, value, text in (
        ("Mean loss (nats)", f"{summary.mean_loss:.3f}",
         help(f"Mean over the predicted tokens. {LOSS}", "nats per token", even)),
        ("Perplexity", f"{summary.perplexity:,.1f}", help(perplexity_help, "tokens")),
        ("Top guess right", f"{summary.accuracy:.0%}", right_help),
        ("Predicted tokens n", f"{summary.n:,}", help("Tokens with a prediction: all but the first.", "tokens")),
    ):  # fmt: skip
        st.metric(label, value, help=text, width="content")


def _expected(view: ViewState, model: HookedTransformer, tokens: Tokens, stats: NextToken, chosen: int) -> None:
    """Choose a token, see what was expected in its place."""
    names = [f"{t}: {label}" for t, label in enumerate(tokens.labels)]
    help = "The token to look at. A click on the strip chooses it too; there, arrow keys and Enter do the same."
    seed = bind(view, "token", names[chosen], lambda key: view.set(token=names.index(st.session_state[key])))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Token", names, chosen, help=help, width=320, **seed)
        number(view, "top", (1, TOP), "Candidates", "How many of the likeliest tokens to show.", width=130)
    if chosen == 0:
        parts.not_computed("the first token has no prediction: nothing stands before it.")
        return
    rows, by = _candidates(model, tokens, stats, chosen, view["top"]), tokens.by
    title = f"Expected at {chosen}, where {tokens.labels[chosen]} came"
    definition = (
        f"P(token | the {chosen} before it). Loss {by.loss[chosen]:.2f} nats, rank {1 + by.rank[chosen]:,} of "
        f"{model.cfg.d_vocab:,}, entropy of the prediction {by.entropy[chosen]:.2f} nats."
    )
    alt = f"{title}. " + "; ".join(f"{row.label} {row.prob:.3f}" for row in rows)
    parts.chart(narrow(candidates(rows, title=title, definition=definition), PHONE), alt, key="tokens:expected")


def _candidates(model: HookedTransformer, tokens: Tokens, stats: NextToken, chosen: int, top: int) -> list[Candidate]:
    ids, probs = stats.top[0, chosen - 1, :top], stats.top_prob[0, chosen - 1, :top]
    labels, actual = map(visible, model.to_str_tokens(ids.tolist())), tokens.ids[chosen]
    rows = [Candidate(*of, i == actual) for i, *of in zip(ids, labels, map(float, probs), range(1, top + 1))]
    if actual not in ids:
        rows.append(
            Candidate(tokens.labels[chosen], float(tokens.by.prob[chosen]), 1 + int(tokens.by.rank[chosen]), True)
        )
    return rows


def _columns() -> dict[str, ColumnConfig]:
    column = st.column_config.NumberColumn
    return {
        "position": column(width=70),
        "loss (nats)": column(format="%.2f", width=90),
        "rank": column(format="localized", width=80),
    }


def _bos(view: ViewState, model: HookedTransformer) -> None:
    if model.bos.id is None:
        parts.not_computed(f"{model.bos.reason}.")
        return
    longest = min(limits().text_tokens, model.cfg.n_ctx) - 1
    text = model.to_tokens(view["prompt"], prepend_bos=False, longest=longest)
    if text.shape[1] < 2:
        parts.not_computed("the text is one token, which only the run with BOS predicts.")
        return
    effect = analyse(bos_effect, model, text, progress=True)
    with st.container(horizontal=True, gap="large"):
        st.metric("Mean loss with BOS", f"{effect.mean_with:.3f}", help=DEFINITION, width="content")
        st.metric("without", f"{effect.mean_without:.3f}", help=DEFINITION, width="content")
        st.metric("Difference (nats)", f"{effect.difference:+.3f}", help=DEFINITION, width="content")
        st.metric("Tokens n", f"{effect.n:,}", width="content")
    at = effect.most_changed
    label = token_labels(model, text[0, at + 1 : at + 2])[0]
    verb = "lowers" if effect.difference < 0 else "raises"
    words = (
        f"On the same {effect.n} tokens, {model.bos.token} in front {verb} the mean loss by "
        f"{abs(effect.difference):.3f} nats; most at {label}, token {at + 2} of the text, by "
        f"{effect.changes[at]:+.2f}. With BOS the first token is predicted too (loss {effect.first:.2f}); it is left "
        "out here. One text: no interval."
    )
    explain(view, None, Explanation(words, BOS_MISREADING))
