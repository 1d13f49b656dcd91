"""The Model page: the structure in the field's names, what the weights are spent on, the tokenizer and its BOS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from lens.analysis.anatomy import Parameter, parameters, weights_by_part
from lens.analysis.structure import GROUPS, MEANINGS, unused
from lens.figures.facts import Fact, facts, size
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.outcome import Explanation, Export, Outcome

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lens.hooked import HookedTransformer
    from lens.tokens import BosPolicy
    from lens.ui.view import ViewState

MISREADING = (
    "More weights do not mean more heads to look at: a large vocabulary can hold most of them. And a bias or gain that "
    "is listed is not always there: where an architecture has none, Lens keeps a constant 0 or 1 in its place."
)
CODE = (
    "from lens.analysis.anatomy import parameters\n\n"
    "print(model.cfg)\n"
    "print(model.bos)  # which token stands before a text, and why\n"
    "print(sum(one.n for one in parameters(model) if not one.shared and not one.constant))  # weights"
)


def draw(view: ViewState, model: HookedTransformer) -> Outcome:
    """The whole tab."""
    rows, left_out = analyse(parameters, model), unused(model.cfg)
    structure = {
        title: [Fact(name, _text(getattr(model.cfg, name)), MEANINGS[name]) for name in names if name not in left_out]
        for title, names in GROUPS.items()
    }
    tables, tokenizer = [facts(group, title) for title, group in structure.items()], tokenizer_facts(view, model)
    left, right = st.columns(2, gap="large")
    left.html("".join(tables[:2]))
    right.html("".join(tables[2:]))
    right.html(facts(tokenizer, "Tokenizer and BOS"))
    right.html(facts(weight_facts(model, rows), "These weights"))
    if left_out:
        st.caption(f"Not used by this structure, and left out: {', '.join(left_out)}.")
    payload = {
        "config": {field.name: getattr(model.cfg, field.name) for field in fields(model.cfg)},
        "tokenizer": {fact.name: fact.value for fact in tokenizer},
        "weights": weights_by_part(rows),
    }
    table = pd.DataFrame([fact._asdict() for group in structure.values() for fact in group])
    files = Export("model-config", "".join(tables), table, payload, CODE, reads_prompt=False)
    return Outcome(Explanation(notice(model, rows), MISREADING), files)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        listed = ", ".join(_text(item) for item in value[:12])
        return listed + (f", … ({len(value)} in all)" if len(value) > 12 else "") or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def tokenizer_facts(view: ViewState, model: HookedTransformer) -> list[Fact]:
    """What turns text into ids, and what stands first; why there is none, for a model without one."""
    tokenizer, bos = model.tokenizer, model.bos
    first = Fact("BOS policy", _policy(bos), parts.bos_words(view, model))
    if tokenizer is None:
        return [Fact("tokenizer", "none", f"{bos.reason}: ids can be read, text cannot"), first]
    unused_rows = model.cfg.d_vocab - len(tokenizer)
    rows = "every row of W_E has a token" if not unused_rows else f"{unused_rows:,} rows of W_E have no token"
    special = sorted(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens))[:8]
    named = ", ".join(f"{visible(str(token))} {i}" for i, token in special)
    example = " | ".join(visible(token) for token in model.to_str_tokens(" Claire 2017", prepend_bos=False))
    template = "yes" if tokenizer.chat_template else "no"
    return [
        first,
        Fact("tokens", f"{len(tokenizer):,}", rows),
        Fact("kind", _kind(tokenizer), "How pieces are put together, and what a piece is made of"),
        Fact("special tokens", named or "none", "Token and id; they stand for no text"),
        Fact("chat template", template, "Lens never applies it: prompts are plain text"),
        Fact("for example", example, "How ' Claire 2017' is cut"),
    ]


def _policy(bos: BosPolicy) -> str:
    if bos.id is None:
        return "no BOS"
    return f"{visible(bos.token)} (id {bos.id}) {'stands first' if bos.prepend else 'is left out'}"


def _kind(tokenizer: PreTrainedTokenizerFast) -> str:
    backend = tokenizer.backend_tokenizer
    made_of = "bytes" if "ByteLevel" in type(backend.decoder).__name__ else "characters"
    return f"{type(backend.model).__name__} of {made_of}"


def weight_facts(model: HookedTransformer, rows: Sequence[Parameter]) -> list[Fact]:
    """How many weights there are, where and in which format."""
    counts = weights_by_part(rows)
    total, held = sum(counts.values()), sum(row.bytes for row in rows)
    places = ", ".join(f"{name} {count / total:.0%}" for name, count in counts.items() if count)
    return [
        Fact("name", model.name + (f"@{model.revision}" if model.revision else ""), model.note),
        Fact("weights", f"{total:,}", "Trained numbers; a shared one counts once, a constant 0 or 1 not at all"),
        Fact("of these", places, "Where they are"),
        Fact("in memory", size(held), "Bytes of all weights as they are held now, constants included"),
        Fact("format", f"{str(model.dtype).removeprefix('torch.')} on {model.device}", "Number format, and device"),
    ]


def notice(model: HookedTransformer, rows: Sequence[Parameter]) -> str:
    """What to see, from the numbers."""
    cfg, counts = model.cfg, weights_by_part(rows)
    total, most = sum(counts.values()), max(counts, key=counts.get)
    first = f"{cfg.n_layers} layer{'s' if cfg.n_layers > 1 else ''} of {cfg.n_heads} heads"
    first += f", {cfg.group_size} of which share their keys and values" if cfg.group_size > 1 else ""
    second = f"{total:,} weights, {counts[most] / total:.0%} of them in {'the ' if most != 'attention' else ''}{most}"
    second += "; W_U is W_E turned, one memory for both" if cfg.tied else ""
    each = cfg.n_heads * cfg.d_head
    wider = f" The heads of a layer have {each} dimensions together, the stream {cfg.d_model}."
    return f"{first}. {second}.{wider if each != cfg.d_model else ''}"
