"""Reference numbers of models beside what this machine computes of the same, and heads that papers describe."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from lens.analysis.known_heads import WHAT, known_heads
from lens.analysis.published import MODELS, PUBLISHED, recomputed
from lens.analysis.selftest.result import Row
from lens.load.catalogue import is_local, resolve
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.explanation import Explanation, explain
from lens.ui.models import model_problem
from lens.ui.view import ViewState
from lens.ui.waiting import started

AWAY = "not on this machine"
WAITS = "not computed yet"
BYTES_PER_SECOND = 5e7  # of opening a model and running a few texts on slow cores: an estimate
HEIGHT = 420  # pixels
MISREADING = (
    "The reference is another program's run of the same model, or arithmetic by hand on planted weights, not a paper. "
    "A number that agrees says that the model and the way of computing it are the same, not that what a paper "
    "concludes from it holds on other texts. And a head's name is what its paper found on its own prompts: on other "
    "text the same head may do something else, and most heads of these models have no name."
)


def draw_published(view: ViewState, rows: Sequence[Row]) -> None:
    """The reference numbers, then the heads that papers name."""
    found = {model: numbers for model in MODELS if (numbers := _numbers(model))}
    table = published_rows(found)
    parts.table(table, f"{len(table)} reference numbers beside what this machine computes", height="content")
    st.markdown("##### Heads that papers describe")
    st.caption(WHAT)
    parts.table(head_rows(), f"{len(known_heads())} heads with the paper that describes them", height=HEIGHT)
    explain(view, None, Explanation(published_words(found), MISREADING))


def _numbers(model: str) -> tuple[float, ...]:
    """What this machine computes for one model; nothing where it is not there, or waits for a click."""
    if model_problem(model) or not is_local(model, paths=False):
        return ()
    entry = resolve(model, paths=False)
    seconds = (entry.download_bytes or 0) / BYTES_PER_SECOND
    key = f"published-{call_key(recomputed, (model,), {})}"
    text = f"What {model}, which is on this machine, gives for the reference numbers is {WAITS}."
    return tuple(analyse(recomputed, model)) if started(key, seconds, text, is_kept(recomputed, model)) else ()


def published_rows(found: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """One row per reference number; ``found``: what was computed of the models that are here."""
    left = {model: list(numbers) for model, numbers in found.items()}
    rows = []
    for one in PUBLISHED:
        here = left[one.model].pop(0) if left.get(one.model) else None
        away = AWAY if not is_local(one.model, paths=False) else WAITS
        agrees = away if here is None else "agrees" if one.agrees(here) else "DIFFERS"
        rows.append((one.model, one.what, one.value, one.unit, here, agrees, one.source))
    return pd.DataFrame(rows, columns=["model", "number", "reference", "unit", "Lens computes", "is it so?", "source"])


def published_words(found: Mapping[str, Sequence[float]]) -> str:
    """How many numbers were computed again, and which of them differ."""
    numbers = iter([number for model in MODELS for number in found.get(model, ())])
    checked = [(one, next(numbers)) for one in PUBLISHED if one.model in found]
    differ = [(one, here) for one, here in checked if not one.agrees(here)]
    wrong = [f"{one.model}, {one.what}: {here:.4g}, reference {one.value:.4g}" for one, here in differ]
    away = [model for model in MODELS if model not in found]
    text = f"{len(checked) - len(wrong)} of {len(checked)} numbers that were computed here agree with the reference."
    text += f" They differ: {'; '.join(wrong)}." if wrong else ""
    return text + (f" Not computed: those of {', '.join(away)}." if away else "")


def head_rows() -> pd.DataFrame:
    """One row per head and paper."""
    rows = [(one.model, str(one.head), one.role, one.number, one.source) for one in known_heads()]
    return pd.DataFrame(rows, columns=["model", "head", "known as", "published number", "source"])
