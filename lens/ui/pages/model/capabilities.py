"""Which page can do what with a model, from its structure alone: one table of rules."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lens.process import why_inexact
from lens.ui.menu import MENU

NO, PART, NOTE = "no", "part", "note"  # the page cannot; something of it cannot; it can, and this should be known
WEIGHTS = ("OV copying", "Composition")
TEXT_ONLY = ("Predictions", "Attention", "Neurons", "Logit lens", "Attribution", "Patching")
RANDOM_TOO = ("Tokens", "Head scores", "One head", "Ablation")
SWEEPS = ("Ablation", "Patching")


class Subject(NamedTuple):
    """What the rules look at. ``checkpoints``: how many are known, 0 for none, None if only the Hub can say."""

    cfg: Any
    has_tokenizer: bool
    why_no_tokenizer: str
    has_bos: bool
    checkpoints: int | None


class Rule(NamedTuple):
    """What a property of a model means for some pages. ``reason`` may name fields of the config: {cfg.n_layers}."""

    pages: tuple[str, ...]
    holds: Callable[[Subject], bool]
    state: str
    reason: str


class Capability(NamedTuple):
    """How much of a page works with a model: "good", "part" or "bad", and every reason."""

    page: str
    state: str
    reasons: tuple[str, ...]


RULES = (
    Rule(TEXT_ONLY, lambda s: not s.has_tokenizer, NO, "no text can be read: {s.why_no_tokenizer}"),
    Rule(RANDOM_TOO, lambda s: not s.has_tokenizer, PART, "only on random tokens: {s.why_no_tokenizer}"),
    Rule(WEIGHTS, lambda s: not s.has_tokenizer, NOTE, "tokens are named by their ids"),
    Rule(("Neurons",), lambda s: s.cfg.attn_only, NO, "attention layers only: there are no neurons"),
    Rule(("Attribution", *SWEEPS), lambda s: s.cfg.attn_only, NOTE, "no MLPs: only heads and embeddings are listed"),
    Rule(("Neurons",), lambda s: s.cfg.mlp_norm, NOTE, "a norm after the activation mixes the neurons of a layer"),
    Rule(
        ("Neurons",), lambda s: s.cfg.gated_mlp, NOTE, "a neuron is its gate times a linear part, so it may be negative"
    ),
    Rule(("Composition",), lambda s: s.cfg.n_layers == 1, NO, "one layer: no earlier head feeds another"),
    Rule(
        ("Head scores", "One head"),
        lambda s: s.cfg.n_layers == 1,
        NOTE,
        "one layer: induction needs two, so its score must stay below chance",
    ),
    Rule(
        ("Logit lens", "Patching"),
        lambda s: s.cfg.parallel,
        NOTE,
        "attention and MLP read the same stream: nothing stands between them (no resid_mid)",
    ),
    Rule(
        ("Patching", "Ablation", *WEIGHTS),
        lambda s: s.cfg.group_size > 1,
        NOTE,
        "{s.cfg.group_size} query heads share keys and values: k and v belong to the group",
    ),
    Rule(
        ("Composition",),
        lambda s: s.cfg.positions == "rotary",
        NOTE,
        "rotary positions: Q and K composition are for one distance at a time",
    ),
    Rule(
        ("OV copying",),
        lambda s: s.cfg.positions == "rotary",
        NOTE,
        "rotary positions: what a head matches is shown for one distance",
    ),
    Rule(
        WEIGHTS, lambda s: s.cfg.qk_norm is not None, PART, "q and k are normalised: no matrix says what matches what"
    ),
    Rule(
        WEIGHTS,
        lambda s: s.cfg.clip_qkv is not None,
        PART,
        "q, k, v are cut at ±{s.cfg.clip_qkv}, which weights ignore",
    ),
    Rule(
        WEIGHTS,
        lambda s: s.cfg.post_norm,
        PART,
        "a norm follows what a head writes: directions are right, sizes depend on the text",
    ),
    Rule(
        ("OV copying",),
        lambda s: s.cfg.embed_norm,
        PART,
        "the embedding is normalised before layer 0: heads do not read W_E itself",
    ),
    Rule(
        WEIGHTS,
        lambda s: why_inexact(s.cfg, "fold_layer_norm") is not None,
        NOTE,
        "weights are not folded: {fold}",
    ),
    Rule(
        ("Composition",),
        lambda s: s.cfg.attn_softcap is not None,
        NOTE,
        "scores are capped at {s.cfg.attn_softcap:g} after the product",
    ),
    Rule(
        ("Attribution",),
        lambda s: s.cfg.final_softcap is not None,
        NOTE,
        "logits are capped at {s.cfg.final_softcap:g}: they are taken apart before the cap, which is a bar of its own",
    ),
    Rule(
        ("OV copying",),
        lambda s: s.cfg.final_softcap is not None,
        NOTE,
        "logits are those before the cap at {s.cfg.final_softcap:g}",
    ),
    Rule(
        ("Attribution",),
        lambda s: s.cfg.post_norm,
        NOTE,
        "what a head writes is normalised first: its scale is frozen as it was",
    ),
    Rule(
        ("Attention", "Head scores"),
        lambda s: bool(s.cfg.windows) and any(s.cfg.windows),
        NOTE,
        "some layers see only {window} tokens back: further away there is nothing to score",
    ),
    Rule(
        ("Attention", "Head scores", "One head"),
        lambda s: s.has_tokenizer and not s.has_bos,
        NOTE,
        "no BOS: the first token takes its place as what heads rest on",
    ),
    Rule(
        ("Training dynamics",),
        lambda s: s.checkpoints == 0,
        NO,
        "Lens knows no training checkpoints of it; your own run's folders open by their path",
    ),
    Rule(
        ("Training dynamics",),
        lambda s: s.checkpoints is None,
        PART,
        "the list of its checkpoints must be asked of the Hub",
    ),
    Rule(
        ("Training dynamics",), lambda s: bool(s.checkpoints), NOTE, "{s.checkpoints} checkpoints, fetched one by one"
    ),
    Rule(("Method",), lambda s: True, NOTE, "tests the instruments on planted circuits, whatever model is open"),
)


def capabilities(subject: Subject) -> list[Capability]:
    """What every page of the menu can do with a model of this kind."""
    return [_capability(page.title, subject) for page in MENU]


def _capability(page: str, subject: Subject) -> Capability:
    held = [rule for rule in RULES if page in rule.pages and rule.holds(subject)]
    states = {rule.state for rule in held}
    state = "bad" if NO in states else "part" if PART in states else "good"
    order = {NO: 0, PART: 1, NOTE: 2}
    shown = sorted((rule for rule in held if state != "bad" or rule.state == NO), key=lambda rule: order[rule.state])
    return Capability(page, state, tuple(_words(rule, subject) for rule in shown))


def _words(rule: Rule, subject: Subject) -> str:
    windows = [width for width in subject.cfg.windows or () if width]
    fold = why_inexact(subject.cfg, "fold_layer_norm")
    return rule.reason.format(s=subject, window=min(windows, default=0), fold=fold)
