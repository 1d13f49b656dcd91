"""The Model page: trees of weights and activations, every name as it is written in code."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lens.analysis.anatomy import Parameter, parameters
from lens.analysis.memory import Activation, activations
from lens.figures.facts import Fact, facts, size
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import read_prompt
from lens.ui.names import Group, names
from lens.ui.view import ViewState
from lens.ui.widgets import text_line

BLOCK = re.compile(r"blocks\.\d+")
FIND_HELP = (
    "Shows the names that contain this; several words must all occur, as in '3. attn W_'. A click on a name copies it."
)
WEIGHTS_MISREADING = (
    "Weights are not used one by one: W_Q and W_K only meet as W_Q W_Kᵀ, W_V and W_O as W_V W_O. A single column of "
    "W_Q means nothing that turning it, and W_K with it, would not change."
)
ACTIVATIONS_MISREADING = (
    "hook_normalized stands before the learned gain and bias of its norm. hook_q and hook_k stand before the rotation, "
    "where there is one; scores are made of hook_rot_q and hook_rot_k. k and v have as many heads as there are sets of "
    "keys and values, which may be fewer than the query heads."
)
WEIGHTS_CODE = (
    "from lens.analysis.anatomy import parameters\n\nfor one in parameters(model):\n    print(one.name, one.shape)"
)
NO_TEXT = 16  # tokens for which shapes are shown where no text can be read


def show_weights(view: ViewState, model: Any) -> None:
    """The tree of all weights."""
    rows = analyse(parameters, model)
    found = _search(view, rows)
    cells = [(row.name, _shape(row.shape), f"{row.n:,}", size(row.bytes), _remark(row)) for row in found]
    totals = [(row.n, row.bytes) for row in found]
    _tree(view, cells, lambda at: _sum([totals[i] for i in at]), ("name", "shape", "count", "memory", ""), "weights")
    explain(view, model, Explanation(weights_notice(rows, found), WEIGHTS_MISREADING))
    frame = pd.DataFrame([row._asdict() | {"shape": _shape(row.shape)} for row in found])
    export(
        view,
        Export(
            "weights",
            _html(cells, "Weights"),
            frame,
            {"weights": frame.to_dict("records")},
            WEIGHTS_CODE,
            reads_prompt=False,
        ),
    )


def show_activations(view: ViewState, model: Any) -> None:
    """The tree of all activations, with their shapes for the current prompt."""
    if model.tokenizer is None:
        n_tokens = min(NO_TEXT, model.cfg.n_ctx)
        view.note(f"{model.name} has no tokenizer, so shapes are shown for {n_tokens} tokens instead of the prompt")
    else:
        n_tokens = read_prompt(view, model).tokens.shape[1]
    rows = analyse(activations, model.cfg, 1, n_tokens, model.dtype)
    found = _search(view, rows)
    cells = [(row.name, _shape(row.shape), _axes(row.name), _held(row)) for row in found]
    totals = [(len(row.shape) and 1, 0 if row.on_request else row.bytes) for row in found]
    _tree(view, cells, lambda at: _points([totals[i] for i in at]), ("name", "shape", "axes", "memory"), "activations")
    explain(view, model, Explanation(activations_notice(rows, n_tokens), ACTIVATIONS_MISREADING))
    frame = pd.DataFrame(
        [{**row._asdict(), "shape": _shape(row.shape), "dtype": str(row.dtype).removeprefix("torch.")} for row in found]
    )
    code = (
        "logits, cache = model.run_with_cache(tokens)\nfor name, x in cache.items():\n    print(name, tuple(x.shape))"
    )
    text = model.tokenizer is not None
    html, payload = _html(cells, "Activations"), {"activations": frame.to_dict("records")}
    made = Export("activations", html, frame, payload, code, reads_prompt=text)
    export(view, made)


def weights_notice(rows: Sequence[Parameter], found: Sequence[Parameter]) -> str | tuple[str, ...]:
    """How many numbers the tensors hold that were ``found`` among all ``rows``; nothing where none was."""
    if not found:
        return ()
    n, held = sum(row.n for row in found if not row.shared), sum(row.bytes for row in found)
    constant = sum(row.n for row in found if row.constant)
    largest = max(found, key=lambda row: row.bytes)
    return (
        f"{len(found)} of {len(rows)} tensors hold {n:,} numbers, {size(held)}; the largest is {largest.name} with "
        f"{size(largest.bytes)}. {constant:,} of the numbers are constant: gains of 1 and biases of 0 in the place "
        "of those that this architecture does not have."
    )


def activations_notice(rows: Sequence[Activation], n_tokens: int) -> str:
    """How much memory the hook points of one prompt hold."""
    usual = [row for row in rows if not row.on_request]
    largest = max(usual, key=lambda row: row.bytes)
    return (
        f"This prompt of {n_tokens} tokens passes {len(usual)} hook points, whose activations hold "
        f"{size(sum(row.bytes for row in usual))}; the largest is {largest.name} with {size(largest.bytes)}. "
        f"{len(rows) - len(usual)} more are computed only when somebody hooks them. The names are those that a run of "
        "the model's own forward pass met, on shapes alone."
    )


def _search(view: ViewState, rows: Sequence[Any]) -> list[Any]:
    text = text_line(view, "find", "Find names", FIND_HELP, width=420, placeholder="3.attn, pattern, W_O")
    words = text.lower().split()
    found = [row for row in rows if all(word in row.name.lower() for word in words)]
    if not found:
        st.info("No name contains this. Empty the box to see all of them.", icon=":material/search_off:")
    return found


def _tree(
    view: ViewState, cells: Sequence[Sequence[str]], note: Callable[[list[int]], str], columns: Sequence[str], key: str
) -> None:
    """Rows in folds: before the blocks, each block, after the blocks."""
    by_fold: dict[str, list[int]] = {}
    for i, (name, *_) in enumerate(cells):
        block = BLOCK.match(name)
        after = any(BLOCK.match(fold) for fold in by_fold) or name.startswith(("ln_final", "unembed"))
        by_fold.setdefault(block[0] if block else "after the blocks" if after else "before the blocks", []).append(i)
    searching = bool(view["find"].split())
    groups = [
        Group(fold, note(at), [cells[i] for i in at], open=searching or fold in ("before the blocks", "blocks.0"))
        for fold, at in by_fold.items()
    ]
    names(groups, columns, f"model:{key}")


def _sum(totals: list[tuple[int, int]]) -> str:
    n, held = (sum(column) for column in zip(*totals))
    return f"{_counted(len(totals), 'tensor')} · {n:,} numbers · {size(held)}"


def _points(totals: list[tuple[int, int]]) -> str:
    return f"{_counted(len(totals), 'point')} · {size(sum(held for _, held in totals))}"


def _html(cells: Sequence[Sequence[str]], caption: str) -> str:
    return facts([Fact(name, shape, " · ".join(filter(None, rest))) for name, shape, *rest in cells], caption)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _remark(row: Any) -> str:
    if row.shared:
        return f"the memory of {row.shared}"
    return f"all {row.constant}: this model has none" if row.constant else ""


def _held(row: Any) -> str:
    if row.on_request:
        return "only on request"
    return size(row.bytes) if row.bytes else "the tensor before it"


AXES = (
    (r"hook_(attn_scores|pattern)$", "batch head query key"),
    (r"attn\.[qk]_norm\.hook_scale$", "batch pos head 1"),
    (r"attn\.(hook_(q|rot_q|z)|q_norm\.hook_normalized)$", "batch pos head d_head"),
    (r"attn\.(hook_(k|rot_k|v)|k_norm\.hook_normalized)$", "batch pos kv_head d_head"),
    (r"hook_q_input$|hook_result$", "batch pos head d_model"),
    (r"hook_[kv]_input$", "batch pos kv_head d_model"),
    (r"mlp\.ln\.hook_scale$|hook_scale$", "batch pos 1"),
    (r"mlp\.(hook_(pre|pre_linear|mid|post)|ln\.hook_normalized)$", "batch pos d_mlp"),
)


def _axes(name: str) -> str:
    """The axis words of an activation."""
    return next((words for pattern, words in AXES if re.search(pattern, name)), "batch pos d_model")
