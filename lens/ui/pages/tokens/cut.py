"""How the model's own tokenizer cuts a text, where a token stands in the prompt, and what its vocabulary holds."""

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from lens.analysis.vocabulary import Cut, containing, spellings, vocabulary
from lens.figures.aligned import Row, aligned
from lens.pieces import Pieces, token_bytes, visible
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.models import read_prompt
from lens.ui.view import ViewState
from lens.ui.widgets import button, number, text_line, toggle

EXAMPLES = ("2342+2017=21445", "1000+1000000=999999", " Claire", "Claire", "naïve café")
PER_PAGE = 50
MISREADING = (
    "A word with and without its leading space is two different tokens to the model, and a number may be cut into "
    "pieces that have nothing to do with its digits' places. An answer of several tokens has no single logit."
)


def show_cut(view: ViewState, model: Any) -> None:
    """The whole tab."""
    model.needs_tokenizer()
    cuts = _cuts(view, model)
    if cuts:
        words = " ".join([*map(verdict, cuts), places(model, _prompt_ids(view, model), cuts)])
        explain(view, model, Explanation(words, MISREADING))
    st.subheader("Vocabulary", divider="gray")
    strings = analyse(vocabulary, model)
    left, right = st.columns([3, 1], gap="large")
    with left:
        frame = _search(view, model, strings)
    with right:
        _lookup(view, model, strings)
    payload = {"cuts": [one._asdict() for one in cuts], "containing": view["find"], "found": frame["id"].tolist()}
    export(view, Export("vocabulary", _table(cuts), frame, payload, code(view), reads_prompt=False))


def code(view: ViewState) -> str:
    """The Python that cuts the text and searches the vocabulary again."""
    return (
        "from lens.analysis.vocabulary import containing, cut, vocabulary\n\n"
        f"print(cut(model, {view['piece']!r}))\n"
        f"print(containing(vocabulary(model), {view['find']!r}, same_case={view['case']}))  # ids"
    )


def _cuts(view: ViewState, model: Any) -> list[Cut]:
    text = text_line(view, "piece", "Text", "Any text. A space in front counts: it is part of a token.")
    with st.container(horizontal=True, gap="small"):
        for example in EXAMPLES:
            button(
                visible(example),
                f"Show how {example!r} is cut.",
                view.set,
                key=f"cut:{example}",
                kwargs={"piece": example},
            )
    if not text:
        st.info("Type a text, or choose one of the examples.", icon=":material/edit:")
        return []
    cuts = spellings(model, text)
    st.html(_table(cuts))
    return cuts


def verdict(one: Cut) -> str:
    """Whether a text is one token, in words."""
    label = visible(one.text)
    if len(one.ids) == 1:
        return f"{label} is one token, id {one.ids[0]:,}."
    return f"{label} is {len(one.ids)} tokens: {' | '.join(map(visible, one.pieces))}."


def places(model: Any, prompt: list[int], cuts: list[Cut]) -> str:
    """Where the first of ``cuts`` that is one token and occurs stands in the prompt, from 0, BOS counted."""
    single = [one for one in cuts if len(one.ids) == 1]
    if not single:
        return "No single token to look for in the prompt."
    for one in single:
        found = [place for place, number in enumerate(prompt) if number == one.ids[0]]
        if found:
            where = (
                f"position {found[0]}"
                if len(found) == 1
                else f"{len(found)} positions, first {found[0]}, last {found[-1]}"
            )
            return f"In the prompt, {visible(one.text)} stands at {where} (counted from 0, with BOS if there is one)."
    return f"{' and '.join(visible(one.text) for one in single)} does not occur in the prompt."


def _prompt_ids(view: ViewState, model: Any) -> list[int]:
    if not view["prompt"].strip():
        return []
    return read_prompt(view, model, limits().text_tokens).tokens[0].tolist()


def _table(cuts: list[Cut]) -> str:
    rows = [Row(visible(one.text), list(map(visible, one.pieces)), [f"{i}" for i in one.ids], "id") for one in cuts]
    return aligned(rows, "How the text is cut into tokens") if rows else ""


def _search(view: ViewState, model: Any, strings: list[str]) -> pd.DataFrame:
    """Tokens that contain a text, page by page; returns all of them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help = "Plain text, no patterns; a space counts."
        text = text_line(view, "find", "Tokens that contain", help, width=320)
        toggle(view, "case", "Same case", "On: 'cat' does not find 'Cat'.")
        found = containing(strings, text, view["case"]) if text else []
        n_pages = max(1, -(-len(found) // PER_PAGE))
        page = int(number(view, "page", (1, n_pages), f"Page, of {n_pages}", "Shortest tokens first.", width=150))
    frame = pd.DataFrame({"id": found, "token": [visible(strings[i]) for i in found]})
    pieces = Pieces(model.tokenizer)
    frame["bytes"] = [pieces.bytes_of(i).hex(" ") for i in found]
    if found:
        shown = frame.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
        st.dataframe(shown, hide_index=True, height=300, alt=f"Tokens that contain {text}")
    share = (
        f"{len(found):,} of {len(strings):,} tokens contain {visible(text)}." if text else "Type a text to look for."
    )
    st.html(f"<small>{escape(share)}</small>")  # not Markdown, which could fetch an image
    return frame


def _lookup(view: ViewState, model: Any, strings: list[str]) -> None:
    last = len(strings) - 1
    number(view, "id", (0, last), "Look up an id", f"Ids run from 0 to {last:,}.")
    which = view["id"]
    label, code = visible(strings[which]), token_bytes(model.tokenizer, which).hex(" ")
    st.html(aligned([Row(f"id {which}", [label], [code], "bytes")], f"Token {which}"))
    if model.cfg.d_vocab > len(strings):
        st.caption(
            f"The model has {model.cfg.d_vocab - len(strings)} more rows in its vocabulary, which no token uses."
        )
