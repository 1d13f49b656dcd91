"""The Model page: the capability card. What every page can do with this model, and what it cannot, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from lens.figures.facts import Verdict, verdicts
from lens.load import catalogue
from lens.load.entries import ENTRIES
from lens.load.patterns import kind_of
from lens.ui.limits import limits
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.pages.model.capabilities import Capability, Subject, capabilities

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

WORDS = {"good": "works", "part": "partly", "bad": "does not"}
MISREADING = (
    "That a page works says that its numbers are defined for this structure, not that they mean the same as for "
    "another: an attention pattern over a window, or a head that shares its values, is a different thing."
)
CODE = "print(model.cfg)  # every reason above follows from a field of this"


def draw(view: ViewState, model: HookedTransformer) -> Outcome:
    """The whole tab."""
    pages = capabilities(subject_of(model))
    card = verdicts(list(map(_verdict, pages)), f"What works with {model.name}")
    st.html(card)
    table = pd.DataFrame({"page": page.page, "state": page.state, "why": "; ".join(page.reasons)} for page in pages)
    made = Export("what-works", card, table, {"pages": table.to_dict("records")}, CODE, reads_prompt=False)
    return Outcome(Explanation(notice(pages), MISREADING, (("Hosted", hosted_words()),)), made)


def subject_of(model: HookedTransformer) -> Subject:
    """What the rules look at, of an open model."""
    missing = "" if model.tokenizer is not None else model.bos.reason
    return Subject(model.cfg, model.tokenizer is not None, missing, model.bos.id is not None, n_checkpoints(model))


def n_checkpoints(model: HookedTransformer) -> int | None:
    """How many checkpoints are known offline; None where only the Hub can say."""
    if model.checkpoints is not None:
        return len(model.checkpoints)
    entry = next((entry for entry in ENTRIES if model.name.lower() in map(str.lower, entry.names)), None)
    if entry is None or not entry.checkpoints:
        return 0
    return len(kind_of(entry.checkpoints).labels) or None


def hosted_words() -> str:
    """What a hosted app limits; "" at home."""
    bounds = limits()
    if not bounds.hosted:
        return ""
    listed = sum((entry.n_params or 0) <= bounds.max_params for entry in catalogue.entries())
    return (
        f"{listed} listed models, up to {bounds.max_params / 1e9:g} billion weights; prompts of {bounds.prompt_tokens} "
        f"tokens, {bounds.sequences} random sequences and {bounds.checkpoints} checkpoints for each request."
    )


def _verdict(page: Capability) -> Verdict:
    text = "; ".join(page.reasons)
    detail = f"{text[:1].upper()}{text[1:]}." if text else "Everything."
    return Verdict(page.page, page.state, WORDS[page.state], "", detail)


def notice(pages: Sequence[Capability]) -> str:
    """What to see, from the card."""
    whole = sum(page.state == "good" for page in pages)
    words = f"{whole} of the {len(pages)} pages work fully with this model"
    for state, verb in (("part", "in part"), ("bad", "not at all")):
        names = [page.page for page in pages if page.state == state]
        words += f"; {', '.join(names)} {verb}" if names else ""
    return f"{words}."
