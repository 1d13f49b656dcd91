"""A direction that the visitor gives as numbers. It stays in the session: no address could carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.answer.pasted import read_vector, read_vector_file
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.limits import limits

if TYPE_CHECKING:
    import numpy as np

TEXT, BOX, FILE, FAULT = (f"lens:vector:{name}" for name in ("text", "box", "file", "fault"))
KINDS = ("json", "csv", "txt", "npy")
HELP = "As many numbers as the residual stream has, with commas or spaces between them, with or without brackets."
FILE_HELP = "The same numbers as text, or as an array of numpy.save. They then stand in the box."
STAYS = (
    "This vector stays in this session: **the page's link does not carry it**, so who opens the link is asked for it. "
    "The Python of the export contains it."
)


def choose_vector(d_model: int) -> np.ndarray | None:
    """The box and the upload, and the ``d_model`` numbers given there; None, with a sentence, without such."""
    if BOX not in st.session_state:
        st.session_state[BOX] = st.session_state.get(TEXT, "")
    columns = st.columns([3, 2], vertical_alignment="bottom")
    with columns[0]:
        st.text_area(
            f"The {d_model:,} numbers of the vector",
            st.session_state[BOX],
            key=BOX,
            help=HELP,
            height=100,
            placeholder="0.12, -0.5, …",
            on_change=_pasted,
        )
    with columns[1]:
        st.file_uploader(
            "Or a file", KINDS, key=FILE, help=FILE_HELP, on_change=_uploaded, args=(d_model,),
            max_upload_size=-(-limits().vector_bytes // 1_000_000),
        )  # fmt: skip
    st.caption(STAYS)
    return _vector(d_model)


def _vector(d_model: int) -> np.ndarray | None:
    text, fault = st.session_state.get(TEXT, ""), st.session_state.get(FAULT, "")
    if fault or not text.strip():
        parts.not_computed(fault or "steering along a vector needs its numbers, above.")
        return None
    try:
        vector = read_vector(text, d_model)
    except ValueError as error:
        parts.not_computed(f"the vector is not used: {error}")
        return None
    length = float((vector.astype("float64") ** 2).sum() ** 0.5)
    st.caption(f"{d_model:,} numbers, of length {number(length)}.")
    return vector


def _pasted() -> None:
    """What stands in the box is the vector; a longer text than allowed is not kept."""
    text = st.session_state[BOX]
    longest = limits().vector_bytes
    too_long = len(text) > longest
    st.session_state[TEXT] = "" if too_long else text
    st.session_state[FAULT] = f"{len(text):,} characters were pasted; at most {longest:,} are read." if too_long else ""


def _uploaded(d_model: int) -> None:
    """The numbers of the file into the box; a file that is taken away leaves them there."""
    file = st.session_state[FILE]
    if file is None:
        return
    try:
        if file.size > limits().vector_bytes:
            raise ValueError(f"it has {file.size:,} bytes; at most {limits().vector_bytes:,} are read.")
        vector = read_vector_file(file.name, file.getvalue(), d_model)
    except ValueError as error:
        st.session_state[FAULT] = f"the file is not used: {error}"
        return
    st.session_state[FAULT] = ""
    st.session_state[TEXT] = st.session_state[BOX] = ", ".join(str(value) for value in vector)
