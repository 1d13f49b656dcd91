"""The Model page: trees of weights and activations, every name as it is written in code."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import pandas as pd
import streamlit as st

from lens.analysis.anatomy import Parameter, parameters
from lens.analysis.memory import Activation, activations, axes_of
from lens.figures.facts import Fact, facts, size
from lens.hooked import HookedTransformer
from lens.ui.calls import analyse
from lens.ui.components import Group, name_tree
from lens.ui.models import read_prompt
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.view import ViewState
from lens.ui.widgets import text_line

Named = TypeVar("Named", Parameter, Activation)
Cells = tuple[str, ...]  # of one row of a tree: its name, then what the headings say

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
OPEN = ("before the blocks", "blocks.0")  # folds that are open at first
NO_TEXT = 16  # tokens for which shapes are shown where no text can be read
ACTIVATIONS_CODE = (
    "logits, cache = model.run_with_cache(tokens)\nfor name, x in cache.items():\n    print(name, tuple(x.shape))"
)


def draw_weights(view: ViewState, model: HookedTransformer) -> Outcome:
    """The tree of all weights."""
    rows = analyse(parameters, model)
    matching = _search(view, rows)
    cells = [(row.name, _shape(row), f"{row.n:,}", size(row.bytes), _remark(row)) for row in matching]
    _draw_tree(view, cells, matching, _weights_note, ("name", "shape", "count", "memory", ""), "weights")
    files = _export("weights", cells, [row._asdict() | {"shape": _shape(row)} for row in matching], WEIGHTS_CODE, False)
    return Outcome(Explanation(weights_notice(rows, matching), WEIGHTS_MISREADING), files)


def draw_activations(view: ViewState, model: HookedTransformer) -> Outcome:
    """The tree of all activations, with their shapes for the current prompt."""
    reads_prompt, n_tokens = model.tokenizer is not None, min(NO_TEXT, model.cfg.n_ctx)
    if reads_prompt:
        n_tokens = read_prompt(view, model).tokens.shape[1]
    else:
        view.note(f"{model.name} has no tokenizer, so shapes are shown for {n_tokens} tokens instead of the prompt")
    rows = analyse(activations, model.cfg, 1, n_tokens, model.dtype)
    matching = _search(view, rows)
    cells = [(row.name, _shape(row), axes_of(row.name), _memory(row)) for row in matching]
    _draw_tree(view, cells, matching, _activations_note, ("name", "shape", "axes", "memory"), "activations")
    table = [row._asdict() | {"shape": _shape(row), "dtype": str(row.dtype).split(".")[-1]} for row in matching]
    files = _export("activations", cells, table, ACTIVATIONS_CODE, reads_prompt)
    return Outcome(Explanation(activations_notice(rows, n_tokens), ACTIVATIONS_MISREADING), files)


def _export(name: str, cells: Sequence[Cells], rows: list[dict], code: str, reads_prompt: bool) -> Export:
    html = facts([Fact(one, shape, " · ".join(filter(None, rest))) for one, shape, *rest in cells], name.capitalize())
    table = pd.DataFrame(rows)
    return Export(name, html, table, {name: table.to_dict("records")}, code, reads_prompt)


def weights_notice(rows: Sequence[Parameter], matching: Sequence[Parameter]) -> str | tuple[str, ...]:
    """How many numbers the tensors hold that are ``matching`` among all ``rows``; nothing where none was."""
    if not matching:
        return ()
    n, held = sum(row.n for row in matching if not row.shared), sum(row.bytes for row in matching)
    constant = sum(row.n for row in matching if row.constant)
    largest = max(matching, key=lambda row: row.bytes)
    return (
        f"{len(matching)} of {len(rows)} tensors hold {n:,} numbers, {size(held)}; the largest is {largest.name} with "
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


def _search(view: ViewState, rows: Sequence[Named]) -> list[Named]:
    text = text_line(view, "find", "Find names", FIND_HELP, width=420, placeholder="3.attn, pattern, W_O")
    matching = [row for row in rows if all(word in row.name.lower() for word in text.lower().split())]
    if not matching:
        st.info("No name contains this. Empty the box to see all of them.", icon=":material/search_off:")
    return matching


def _draw_tree(
    view: ViewState,
    cells: Sequence[Cells],
    rows: Sequence[Named],
    note: Callable[[list[Named]], str],
    columns: Sequence[str],
    key: str,
) -> None:
    """Rows in folds: before the blocks, each block, after the blocks. ``note`` of the rows of a fold stands on it."""
    folds: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        block = BLOCK.match(row.name)
        after = any(BLOCK.match(fold) for fold in folds) or row.name.startswith(("ln_final", "unembed"))
        folds.setdefault(block[0] if block else "after the blocks" if after else "before the blocks", []).append(i)
    always = view["find"].split()
    groups = [
        Group(fold, note([rows[i] for i in at]), [cells[i] for i in at], bool(always or fold in OPEN))
        for fold, at in folds.items()
    ]
    name_tree(groups, columns, f"model:{key}")


def _weights_note(rows: list[Parameter]) -> str:
    n, held = sum(row.n for row in rows), sum(row.bytes for row in rows)
    return f"{_counted(len(rows), 'tensor')} · {n:,} numbers · {size(held)}"


def _activations_note(rows: list[Activation]) -> str:
    held = sum(row.bytes for row in rows if not row.on_request)
    return f"{_counted(len(rows), 'point')} · {size(held)}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _shape(row: Parameter | Activation) -> str:
    return str(list(row.shape))


def _remark(row: Parameter) -> str:
    if row.shared:
        return f"the memory of {row.shared}"
    return f"all {row.constant}: this model has none" if row.constant else ""


def _memory(row: Activation) -> str:
    if row.on_request:
        return "only on request"
    return size(row.bytes) if row.bytes else "the tensor before it"
