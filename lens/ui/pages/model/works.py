"""The Model page: the capability card. What every page can do with this model, and what it cannot, and why."""

from typing import Any

import pandas as pd
import streamlit as st

from lens.figures.facts import Verdict, verdicts
from lens.load import catalogue
from lens.load.entries import ENTRIES
from lens.load.patterns import kind_of
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.pages.model.capabilities import Capability, Subject, capabilities
from lens.ui.view import ViewState

WORDS = {"good": "works", "part": "partly", "bad": "does not"}
MISREADING = (
    "That a page works says that its numbers are defined for this structure, not that they mean the same as for "
    "another: an attention pattern over a window, or a head that shares its values, is a different thing."
)
CODE = "print(model.cfg)  # every reason above follows from a field of this"


def show_works(view: ViewState, model: Any) -> None:
    """The whole tab."""
    found = capabilities(subject_of(model))
    card = verdicts(list(map(_verdict, found)), f"What works with {model.name}")
    st.html(card)
    explain(view, model, Explanation(notice(found), MISREADING, (("Hosted", hosted_words()),)))
    rows = pd.DataFrame(
        [(one.page, one.state, "; ".join(one.reasons)) for one in found], columns=["page", "state", "why"]
    )
    made = Export("what-works", card, rows, {"pages": rows.to_dict("records")}, CODE, reads_prompt=False)
    export(view, made)


def subject_of(model: Any) -> Subject:
    """What the rules look at, of an open model."""
    missing = "" if model.tokenizer is not None else model.bos.reason
    return Subject(model.cfg, model.tokenizer is not None, missing, model.bos.id is not None, n_checkpoints(model))


def n_checkpoints(model: Any) -> int | None:
    """How many checkpoints are known offline; None where only the Hub can say."""
    if model.checkpoints is not None:
        return len(model.checkpoints)
    entry = next((one for one in ENTRIES if model.name.lower() in map(str.lower, one.names)), None)
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


def _verdict(one: Capability) -> Verdict:
    text = "; ".join(one.reasons)
    return Verdict(
        one.page, one.state, WORDS[one.state], "", f"{text[:1].upper()}{text[1:]}." if text else "Everything."
    )


def notice(found: list[Capability]) -> str:
    """What to see, from the card."""
    whole = sum(one.state == "good" for one in found)
    words = f"{whole} of the {len(found)} pages work fully with this model"
    for state, verb in (("part", "in part"), ("bad", "not at all")):
        names = [one.page for one in found if one.state == state]
        words += f"; {', '.join(names)} {verb}" if names else ""
    return f"{words}."
