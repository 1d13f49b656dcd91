"""A tree of names, in folds, each of which can be copied with a click or from the keyboard."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import streamlit as st

ASSETS = Path(__file__).parent / "assets"


class Group(NamedTuple):
    """One fold of the tree. ``rows`` are cells of text, the first of which is the name that is copied."""

    name: str
    note: str
    rows: Sequence[Sequence[str]]
    open: bool = False


@lru_cache(maxsize=1)
def _component():
    css, js = ((ASSETS / f"names.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component("lens_names", html='<div class="lens-names"></div>', css=css, js=js)


def names(groups: Sequence[Group], columns: Sequence[str], key: str) -> None:
    """Draw the tree. ``columns`` are the headings, one for each cell of a row."""
    data = {"groups": [group._asdict() for group in groups], "columns": list(columns)}
    data["key"] = hashlib.sha256(repr(data).encode()).hexdigest()[:16]
    _component()(key=key, data=data, height="content")
