"""How the model's own tokenizer cuts a text, where a token stands in the prompt, and what its vocabulary holds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
import streamlit as st

from lens.analysis.vocabulary import Cut, containing, spellings, vocabulary
from lens.figures.aligned import Row, aligned
from lens.hooked import HookedTransformer
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


def draw(view: ViewState, model: HookedTransformer) -> None:
    """The whole tab."""
    model.needs_tokenizer()
    cuts = _cuts(view, model)
    if cuts:
        words = " ".join([*map(verdict, cuts), places(_prompt_ids(view, model), cuts)])
        explain(view, model, Explanation(words, MISREADING))
    st.subheader("Vocabulary", divider="gray")
    strings = analyse(vocabulary, model)
    left, right = st.columns([3, 1], gap="large")
    with left:
        rows = _search(view, model, strings)
    with right:
        _lookup(view, model, strings)
    payload = {"cuts": [cut._asdict() for cut in cuts], "containing": view["find"], "found": rows["id"].tolist()}
    export(view, Export("vocabulary", _table(cuts), rows, payload, code(view), reads_prompt=False))


def code(view: ViewState) -> str:
    """The Python that cuts the text and searches the vocabulary again."""
    return (
        "from lens.analysis.vocabulary import containing, cut, vocabulary\n\n"
        f"print(cut(model, {view['piece']!r}))\n"
        f"print(containing(vocabulary(model), {view['find']!r}, same_case={view['case']}))  # ids"
    )


def _cuts(view: ViewState, model: HookedTransformer) -> list[Cut]:
    text = text_line(view, "piece", "Text", "Any text. A space in front counts: it is part of a token.")
    with st.container(horizontal=True, gap="small"):
        for example in EXAMPLES:
            help, key = f"Show how {example!r} is cut.", f"cut:{example}"
            button(visible(example), help, view.set, key=key, kwargs={"piece": example})
    if not text:
        st.info("Type a text, or choose one of the examples.", icon=":material/edit:")
        return []
    cuts = spellings(model, text)
    st.html(_table(cuts))
    return cuts


def verdict(cut: Cut) -> str:
    """Whether a text is one token, in words."""
    label = visible(cut.text)
    if len(cut.ids) == 1:
        return f"{label} is one token, id {cut.ids[0]:,}."
    return f"{label} is {len(cut.ids)} tokens: {' | '.join(map(visible, cut.pieces))}."


def places(prompt: Sequence[int], cuts: Sequence[Cut]) -> str:
    """Where the first of ``cuts`` that is one token and occurs stands in the prompt, from 0, BOS counted."""
    single = [cut for cut in cuts if len(cut.ids) == 1]
    if not single:
        return "No single token to look for in the prompt."
    for cut in single:
        at = [place for place, number in enumerate(prompt) if number == cut.ids[0]]
        if at:
            where = f"position {at[0]}" if len(at) == 1 else f"{len(at)} positions, first {at[0]}, last {at[-1]}"
            return f"In the prompt, {visible(cut.text)} stands at {where} (counted from 0, with BOS if there is one)."
    return f"{' and '.join(visible(cut.text) for cut in single)} does not occur in the prompt."


def _prompt_ids(view: ViewState, model: HookedTransformer) -> list[int]:
    if not view["prompt"].strip():
        return []
    return read_prompt(view, model, limits().text_tokens).tokens[0].tolist()


def _table(cuts: Sequence[Cut]) -> str:
    rows = [Row(visible(cut.text), list(map(visible, cut.pieces)), list(map(str, cut.ids)), "id") for cut in cuts]
    return aligned(rows, "How the text is cut into tokens") if rows else ""


def _search(view: ViewState, model: HookedTransformer, strings: Sequence[str]) -> pd.DataFrame:
    """Tokens that contain a text, page by page; returns all of them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help = "Plain text, no patterns; a space counts."
        text = text_line(view, "find", "Tokens that contain", help, width=320)
        toggle(view, "case", "Same case", "On: 'cat' does not find 'Cat'.")
        ids = containing(strings, text, view["case"]) if text else []
        n_pages = max(1, -(-len(ids) // PER_PAGE))
        page = int(number(view, "page", (1, n_pages), f"Page, of {n_pages}", "Shortest tokens first.", width=150))
    pieces = Pieces(model.tokenizer)
    rows = pd.DataFrame({"id": ids, "token": [visible(strings[i]) for i in ids]})
    rows["bytes"] = [pieces.bytes_of(i).hex(" ") for i in ids]
    if ids:
        on_page = rows.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
        st.dataframe(on_page, hide_index=True, height=300, alt=f"Tokens that contain {text}")
    share = f"{len(ids):,} of {len(strings):,} tokens contain {visible(text)}." if text else "Type a text to look for."
    st.html(f"<small>{escape(share)}</small>")  # not Markdown, which could fetch an image
    return rows


def _lookup(view: ViewState, model: HookedTransformer, strings: Sequence[str]) -> None:
    last = len(strings) - 1
    number(view, "id", (0, last), "Look up an id", f"Ids run from 0 to {last:,}.")
    i, unused = view["id"], model.cfg.d_vocab - len(strings)
    label, code = visible(strings[i]), token_bytes(model.tokenizer, i).hex(" ")
    st.html(aligned([Row(f"id {i}", [label], [code], "bytes")], f"Token {i}"))
    if unused > 0:
        st.caption(f"The model has {unused} more rows in its vocabulary, which no token uses.")
