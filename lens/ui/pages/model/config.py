"""The Model page: the structure in the field's names, what the weights are spent on, the tokenizer and its BOS."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pandas as pd
import streamlit as st

from lens.analysis.anatomy import Parameter, parameters
from lens.figures.facts import Fact, facts, size
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.model.meanings import GROUPS, MEANINGS, unused
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


def show_config(view: ViewState, model: Any) -> None:
    """The whole tab."""
    rows = analyse(parameters, model)
    left, right = st.columns(2, gap="large")
    groups = list(GROUPS.items())
    with left:
        st.html("".join(facts(_facts(model, names), title) for title, names in groups[:2]))
    with right:
        st.html("".join(facts(_facts(model, names), title) for title, names in groups[2:]))
        st.html(facts(tokenizer_facts(view, model), "Tokenizer and BOS"))
        st.html(facts(weight_facts(model, rows), "These weights"))
    if left_out := unused(model.cfg):
        st.caption(f"Not used by this structure, and left out: {', '.join(left_out)}.")
    explain(view, model, Explanation(notice(model, rows), MISREADING))
    table = pd.DataFrame([fact._asdict() for names in GROUPS.values() for fact in _facts(model, names)])
    payload = {
        "config": {field.name: getattr(model.cfg, field.name) for field in fields(model.cfg)},
        "tokenizer": {fact.name: fact.value for fact in tokenizer_facts(view, model)},
        "weights": spent(rows),
    }
    html = "".join(facts(_facts(model, names), title) for title, names in groups)
    export(view, Export("model-config", html, table, payload, CODE, reads_prompt=False))


def _facts(model: Any, names: Sequence[str]) -> list[Fact]:
    left_out = unused(model.cfg)
    return [Fact(name, _text(getattr(model.cfg, name)), MEANINGS[name]) for name in names if name not in left_out]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        shown = ", ".join(_text(item) for item in value[:12])
        return shown + (f", … ({len(value)} in all)" if len(value) > 12 else "") or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def tokenizer_facts(view: ViewState, model: Any) -> list[Fact]:
    """What turns text into ids, and what stands first; why there is none, for a model without one."""
    tokenizer, bos = model.tokenizer, model.bos
    first = Fact("BOS policy", _policy(bos), parts.bos_words(view, model))
    if tokenizer is None:
        return [Fact("tokenizer", "none", f"{bos.reason}: ids can be read, text cannot"), first]
    unused_rows = model.cfg.d_vocab - len(tokenizer)
    rows = "every row of W_E has a token" if not unused_rows else f"{unused_rows:,} rows of W_E have no token"
    special = ", ".join(f"{visible(str(token))} {i}" for i, token in _special(tokenizer)[:8])
    example = " | ".join(visible(token) for token in model.to_str_tokens(" Claire 2017", prepend_bos=False))
    return [
        first,
        Fact("tokens", f"{len(tokenizer):,}", rows),
        Fact("kind", _kind(tokenizer), "How pieces are put together, and what a piece is made of"),
        Fact("special tokens", special or "none", "Token and id; they stand for no text"),
        Fact(
            "chat template", "yes" if tokenizer.chat_template else "no", "Lens never applies it: prompts are plain text"
        ),
        Fact("for example", example, "How ' Claire 2017' is cut"),
    ]


def _policy(bos: Any) -> str:
    if bos.id is None:
        return "no BOS"
    return f"{visible(bos.token)} (id {bos.id}) {'stands first' if bos.prepend else 'is left out'}"


def _kind(tokenizer: Any) -> str:
    backend = tokenizer.backend_tokenizer
    made_of = "bytes" if "ByteLevel" in type(backend.decoder).__name__ else "characters"
    return f"{type(backend.model).__name__} of {made_of}"


def _special(tokenizer: Any) -> list[tuple[int, str]]:
    return sorted(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens))


def weight_facts(model: Any, rows: Sequence[Parameter]) -> list[Fact]:
    """How many weights there are, where and in which format."""
    shares = spent(rows)
    total = sum(shares.values())
    held = sum(row.bytes for row in rows)
    places = ", ".join(f"{name} {count / total:.0%}" for name, count in shares.items() if count)
    return [
        Fact("name", model.name + (f"@{model.revision}" if model.revision else ""), model.note),
        Fact("weights", f"{total:,}", "Trained numbers; a shared one counts once, a constant 0 or 1 not at all"),
        Fact("of these", places, "Where they are"),
        Fact("in memory", size(held), "Bytes of all weights as they are held now, constants included"),
        Fact("format", f"{str(model.dtype).removeprefix('torch.')} on {model.device}", "Number format, and device"),
    ]


def spent(rows: Sequence[Parameter]) -> dict[str, int]:
    """Trained weights by where they are: embeddings, attention, MLPs, norms."""
    counts = {"embeddings": 0, "attention": 0, "MLPs": 0, "norms": 0}
    for row in rows:
        if row.shared or row.constant:
            continue
        last = row.name.rsplit(".", 1)[-1]
        kind = "norms" if last in ("w", "b") else "attention" if ".attn." in row.name else "embeddings"
        counts["MLPs" if ".mlp." in row.name and kind != "norms" else kind] += row.n
    return counts


def notice(model: Any, rows: Sequence[Parameter]) -> str:
    """What to see, from the numbers."""
    cfg, shares = model.cfg, spent(rows)
    total, most = sum(shares.values()), max(shares, key=shares.get)
    first = f"{cfg.n_layers} layer{'s' if cfg.n_layers > 1 else ''} of {cfg.n_heads} heads"
    first += f", {cfg.group_size} of which share their keys and values" if cfg.group_size > 1 else ""
    second = f"{total:,} weights, {shares[most] / total:.0%} of them in {'the ' if most != 'attention' else ''}{most}"
    tied = "; W_U is W_E turned, one memory for both" if cfg.tied else ""
    each = cfg.n_heads * cfg.d_head
    third = (
        ""
        if each == cfg.d_model
        else f" The heads of a layer have {each} dimensions together, the stream {cfg.d_model}."
    )
    return f"{first}. {second}{tied}.{third}"
