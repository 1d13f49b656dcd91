"""Which page can do what with a model, from its structure alone: one table of rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lens.process import why_inexact
from lens.ui.menu import MENU

if TYPE_CHECKING:
    from lens.config import Config

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
