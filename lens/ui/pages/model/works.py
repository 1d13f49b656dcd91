"""The Model page: the capability card. What every page can do with this model, and what it cannot, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from lens.figures.facts import Verdict, verdicts
from lens.load import catalogue
from lens.load.entries import ENTRIES
from lens.load.patterns import kind_of
from lens.process import why_inexact
from lens.ui.limits import limits
from lens.ui.menu import MENU
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.shared.wording import sentence

if TYPE_CHECKING:
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

NO, PART, NOTE = "no", "part", "note"  # the page cannot; something of it cannot; it can, and this should be known
OV, COMPOSITION, TRAINING = ("OV copying",), ("Composition",), ("Training dynamics",)
WEIGHTS, SCORES = (*OV, *COMPOSITION), ("Head scores", "One head")
TEXT_ONLY = ("Attention", "Patching")
RANDOM_TOO = ("Tokens", *SCORES, "Ablation")
SWEEPS = ("Ablation", "Patching")


class Subject(NamedTuple):
    """What the rules look at. ``checkpoints``: how many are known, 0 for none, None if only the Hub can say."""

    cfg: Config
    has_tokenizer: bool
    why_no_tokenizer: str
    has_bos: bool
    checkpoints: int | None


class Rule(NamedTuple):
    """What a property of a model means for some pages. ``reason`` may name fields of the config: {cfg.n_layers}."""

    state: str
    pages: tuple[str, ...]
    reason: str
    holds: Callable[[Subject], bool]


class Capability(NamedTuple):
    """How much of a page works with a model: "good", "part" or "bad", and every reason."""

    page: str
    state: str
    reasons: tuple[str, ...]


RULES = (
    Rule(NO, TEXT_ONLY, "no text can be read: {s.why_no_tokenizer}", lambda s: not s.has_tokenizer),
    Rule(PART, RANDOM_TOO, "only on random tokens: {s.why_no_tokenizer}", lambda s: not s.has_tokenizer),
    Rule(NOTE, WEIGHTS, "tokens are named by their ids", lambda s: not s.has_tokenizer),
    Rule(NOTE, SWEEPS, "no MLPs: only heads and embeddings are listed", lambda s: s.cfg.attn_only),
    Rule(NO, COMPOSITION, "one layer: no earlier head feeds another", lambda s: s.cfg.n_layers == 1),
    Rule(NOTE, SCORES, "one layer: induction needs two, so its score must stay below chance",
         lambda s: s.cfg.n_layers == 1),
    Rule(NOTE, ("Patching",), "attention and MLP read the same stream: nothing stands between them (no resid_mid)",
         lambda s: s.cfg.parallel),
    Rule(NOTE, (*SWEEPS, *WEIGHTS),
         "{s.cfg.group_size} query heads share keys and values: k and v belong to the group",
         lambda s: s.cfg.group_size > 1),
    Rule(NOTE, COMPOSITION, "rotary positions: Q and K composition are for one distance at a time",
         lambda s: s.cfg.positions == "rotary"),
    Rule(NOTE, OV, "rotary positions: what a head matches is shown for one distance",
         lambda s: s.cfg.positions == "rotary"),
    Rule(PART, WEIGHTS, "q and k are normalised: no matrix says what matches what",
         lambda s: s.cfg.qk_norm is not None),
    Rule(PART, WEIGHTS, "q, k, v are cut at ±{s.cfg.clip_qkv}, which weights ignore",
         lambda s: s.cfg.clip_qkv is not None),
    Rule(PART, WEIGHTS, "a norm follows what a head writes: directions are right, sizes depend on the text",
         lambda s: s.cfg.post_norm),
    Rule(PART, OV, "the embedding is normalised before layer 0: heads do not read W_E itself",
         lambda s: s.cfg.embed_norm),
    Rule(NOTE, WEIGHTS, "weights are not folded: {fold}",
         lambda s: why_inexact(s.cfg, "fold_layer_norm") is not None),
    Rule(NOTE, COMPOSITION, "scores are capped at {s.cfg.attn_softcap:g} after the product",
         lambda s: s.cfg.attn_softcap is not None),
    Rule(NOTE, OV, "logits are those before the cap at {s.cfg.final_softcap:g}",
         lambda s: s.cfg.final_softcap is not None),
    Rule(NOTE, ("Attention", "Head scores"),
         "some layers see only {window} tokens back: further away there is nothing to score",
         lambda s: bool(s.cfg.windows) and any(s.cfg.windows)),
    Rule(NOTE, ("Attention", *SCORES), "no BOS: the first token takes its place as what heads rest on",
         lambda s: s.has_tokenizer and not s.has_bos),
    Rule(NO, TRAINING, "Lens knows no training checkpoints of it; your own run's folders open by their path",
         lambda s: s.checkpoints == 0),
    Rule(PART, TRAINING, "the list of its checkpoints must be asked of the Hub", lambda s: s.checkpoints is None),
    Rule(NOTE, TRAINING, "{s.checkpoints} checkpoints, fetched one by one", lambda s: bool(s.checkpoints)),
    Rule(NOTE, ("Method",), "tests the instruments on planted circuits, whatever model is open", lambda s: True),
)  # fmt: skip
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
    files = Export("what-works", card, table, {"pages": table.to_dict("records")}, CODE, reads_prompt=False)
    return Outcome(Explanation(notice(pages), MISREADING, (("Hosted", hosted_words()),)), files)


def capabilities(subject: Subject) -> list[Capability]:
    """What every page of the menu can do with a model of this kind."""
    return [_capability(page.title, subject) for page in MENU]


def _capability(page: str, subject: Subject) -> Capability:
    rules = [rule for rule in RULES if page in rule.pages and rule.holds(subject)]
    states = {rule.state for rule in rules}
    state = "bad" if NO in states else "part" if PART in states else "good"
    named = [rule for rule in rules if state != "bad" or rule.state == NO]
    ordered = sorted(named, key=lambda rule: (NO, PART, NOTE).index(rule.state))
    return Capability(page, state, tuple(_reason(rule, subject) for rule in ordered))


def _reason(rule: Rule, subject: Subject) -> str:
    windows = [width for width in subject.cfg.windows or () if width]
    fold = why_inexact(subject.cfg, "fold_layer_norm")
    return rule.reason.format(s=subject, window=min(windows, default=0), fold=fold)


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
        f"tokens, {bounds.sequences} random sequences and {bounds.checkpoints} checkpoints for each request, "
        f"{bounds.pairs} pairs of prompts, {bounds.written_tokens} written tokens, vectors of "
        f"{bounds.vector_bytes / 1000:,.0f} kB. No folders or models of your own."
    )


def _verdict(page: Capability) -> Verdict:
    text = "; ".join(page.reasons)
    detail = sentence(text) if text else "Everything."
    return Verdict(page.page, page.state, WORDS[page.state], "", detail)


def notice(pages: Sequence[Capability]) -> str:
    """What to see, from the card."""
    whole = sum(page.state == "good" for page in pages)
    words = f"{whole} of the {len(pages)} pages work fully with this model"
    for state, verb in (("part", "in part"), ("bad", "not at all")):
        names = [page.page for page in pages if page.state == state]
        words += f"; {', '.join(names)} {verb}" if names else ""
    return f"{words}."
