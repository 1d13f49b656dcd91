"""The text that all heads are read on: beginnings of shipped chapters, or a text that the visitor gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.corpus.own_text import RULE, own_text
from lens.analysis.corpus.reading import corpus_part, parts_of, private_part
from lens.analysis.instruments.sample import shipped_text
from lens.texts import held_out
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.estimate import forward_seconds
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.pages.head import LONGEST_TEXT, MOST_TEXTS, TEXTS
from lens.ui.shared.computing import Cells
from lens.ui.store import to_torch
from lens.ui.widgets import number, segmented

if TYPE_CHECKING:
    from lens.analysis.instruments.sample import Sample
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

TEXT, BOX, FILE, FAULT = (f"lens:corpus:{name}" for name in ("text", "box", "file", "fault"))
PATTERNS = 1.35  # times a forward pass: what reading its patterns takes as well
CORPUS_HELP = "**Shipped novels:** beginnings of held-out chapters. **Your text:** pasted, or a file of this machine."
TEXTS_HELP = (
    "Chapters, evenly chosen, or pieces of your text; each is read by itself. 16 chapters give intervals, or 16 "
    "documents of your text: pieces of one are not independent."
)
LENGTH_HELP = "Tokens of each chapter or piece."
OWN_HELP = f"Any text. {RULE}"
FILE_HELP = "A text file in UTF-8. It then stands in the box."
STAYS = (
    "This text stays in memory, not on disk: **the page's link does not carry it**, so who opens the link is asked for "
    "it."
)


def choose_sample(view: ViewState, model: HookedTransformer) -> Sample | None:
    """The controls, and the text as the model reads it; None, with a sentence, where there is none."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        segmented(view, "corpus", tuple(TEXTS), "Text", CORPUS_HELP, format_func=TEXTS.get)
        name = "Chapters" if view["corpus"] == "shipped" else "Pieces"
        number(view, "texts", (1, _most_texts(view)), name, TEXTS_HELP, width=120)
        most = _longest(model)
        number(view, "length", (min(8, most), most), "Tokens each", LENGTH_HELP, width=130)
    if view["corpus"] == "own":
        _draw_box()
        fault = st.session_state.get(FAULT, "")
        if fault or not st.session_state.get(TEXT, "").strip():
            parts.not_computed(fault or "there is no text of yours yet: paste one above, or choose the shipped novels.")
            return None
    try:
        return _sample(view, model)
    except ValueError as error:
        parts.not_computed(str(error).removeprefix("own_text: "))
        return None


def sample_of(view: ViewState, model: HookedTransformer) -> Sample | None:
    """The text of the view as the model reads it, without controls; None where there is none."""
    if model.tokenizer is None:
        return None
    try:
        return _sample(view, model)
    except ValueError:  # the section itself says why
        return None


def _sample(view: ViewState, model: HookedTransformer) -> Sample:
    """ValueError for a text that cannot be read."""
    n, length, chosen = min(view["texts"], _most_texts(view)), min(view["length"], _longest(model)), prepend_bos(view)
    bos = model.bos.id is not None and (model.bos.prepend if chosen is None else chosen)
    if view["corpus"] == "shipped":
        return to_torch(analyse(shipped_text, model, n, length, bos))
    return own_text(model, st.session_state.get(TEXT, ""), n, length, bos)


def cells_of(model: HookedTransformer, sample: Sample) -> Cells:
    """The parts in which all heads are read on it; what is read of a text of the visitor's is kept in memory only."""
    texts = sample.text_batch()
    read = corpus_part if sample.name == "shipped text" else private_part
    return Cells(read, parts_of(*texts.tokens.shape), (model, texts))


def seconds(model: HookedTransformer, sample: Sample) -> float:
    """Rough time to read all of it."""
    return PATTERNS * forward_seconds(model, sample.size.tokens, unembed=False)


def code(view: ViewState, sample: Sample) -> str:
    """The Python that makes the same sample."""
    texts, bos = sample.text_batch().tokens, prepend_bos(view)
    if view["corpus"] == "shipped":
        return (
            "from lens.analysis.instruments.sample import shipped_text\n\n"
            f"sample = shipped_text(model, n={len(texts)}, longest={view['length']}, prepend_bos={bos})\n"
        )
    text = st.session_state[TEXT]
    opened = repr(text) if len(text) <= limits().prompt_chars else 'Path("your_text.txt").read_text("utf-8")'
    paths = "" if opened.startswith(("'", '"')) else "from pathlib import Path\n\n"
    return (
        f"{paths}from lens.analysis.corpus.own_text import own_text\n\n"
        f"sample = own_text(model, {opened}, n={view['texts']}, length={view['length']}, prepend_bos={bos})\n"
    )


def _most_texts(view: ViewState) -> int:
    return min(len(held_out()) if view["corpus"] == "shipped" else MOST_TEXTS, limits().sequences)


def _longest(model: HookedTransformer) -> int:
    return min(LONGEST_TEXT, limits().prompt_tokens, model.cfg.n_ctx)


def _draw_box() -> None:
    """The box for a text and, at home, the upload of a file."""
    if BOX not in st.session_state:
        st.session_state[BOX] = st.session_state.get(TEXT, "")
    if limits().hosted:
        place = st.container()
    else:
        place, right = st.columns([3, 2], vertical_alignment="bottom")
        size = -(-limits().corpus_chars // 1_000_000)
        right.file_uploader(
            "Or a file", ("txt", "md"), key=FILE, help=FILE_HELP, on_change=_uploaded, max_upload_size=size
        )
    place.text_area(
        "Your text", st.session_state[BOX], key=BOX, help=OWN_HELP, height=140, on_change=_pasted,
        placeholder="Paste a text of at least a few sentences …",
    )  # fmt: skip
    st.caption(STAYS)


def _pasted() -> None:
    """What stands in the box is the text; a longer one than allowed is not kept."""
    _keep(st.session_state[BOX])


def _keep(text: str) -> None:
    longest = limits().corpus_chars
    st.session_state[TEXT] = text[:longest]
    st.session_state[FAULT] = ""
    if len(text) > longest:
        st.session_state[FAULT] = f"{len(text):,} characters were given; at most {longest:,} are read."
        st.session_state[TEXT] = ""


def _uploaded() -> None:
    """The file into the box; one that is taken away leaves its text there."""
    file = st.session_state[FILE]
    if file is None:
        return
    try:
        text = file.getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        st.session_state[FAULT] = f"{file.name} is no text in UTF-8."
        return
    _keep(text)
    st.session_state[BOX] = st.session_state[TEXT]
