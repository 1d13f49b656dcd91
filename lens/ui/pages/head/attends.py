"""First link: the pattern of the head on the prompt."""

from html import escape
from typing import Any

import numpy as np
import streamlit as st

from lens.figures.fitted import small_matrix
from lens.figures.matrix import View, matrix
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.models import read_prompt
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.pages.head_scores.one_head import attention
from lens.ui.view import ViewState

SIDE, WIDTH = 330, 520  # pixels of the matrix and of its column
LONGEST = 64  # tokens that are drawn


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The matrix, with the first token hidden, and where the attention goes."""
    name = f"{head[0]}.{head[1]}"
    if model.tokenizer is None:
        parts.not_computed("this model has no tokenizer, so it reads no prompt.")
        return Finding("no tokenizer, no prompt")
    if not view["prompt"].strip():
        st.info("The prompt is empty. Type a text above to see where this head looks.", icon=":material/edit:")
        return Finding("no prompt")
    prompt = read_prompt(view, model, LONGEST)
    if len(prompt.labels) == 1:
        st.info("The prompt is one token, which can only look at itself. Type a longer text.", icon=":material/edit:")
        return Finding("one token only")
    pattern = attention(model, prompt.tokens[0].cpu().numpy(), *head)
    told, finding = words(pattern, prompt.labels, name)
    short = [label if len(label) < 9 else label[:8] + "…" for label in prompt.labels]
    figure = matrix(pattern, short, title=f"Head {name} on your prompt", view=View(hide_first=True))
    parts.chart(small_matrix(figure, SIDE, WIDTH), f"Attention of head {name}. {told}", key="head:matrix")
    st.html(f'<p class="lens-told">{escape(told)}</p>')
    return finding


def words(pattern: np.ndarray, labels: list[str], name: str) -> tuple[str, Finding]:
    """Where the attention goes, the first token apart."""
    rows = pattern[1:]
    first, n = float(rows[:, 0].mean()), len(rows)
    uniform = float(np.mean([1 / (q + 2) for q in range(n)]))
    rest = np.where(np.arange(pattern.shape[1]) > 0, pattern, -1.0)
    query, key = np.unravel_index(int(rest.argmax()), rest.shape)
    share = float(pattern[query, key])
    told = (
        f"Over {n} queries head {name} gives {number(first)} of its attention to the first token ({number(uniform)} if "
        f"it looked at all alike). Its strongest look elsewhere is from {labels[query]} (position {query}) to "
        f"{labels[key]} (position {key}): {number(share)}."
    )
    return told, Finding(f"{number(first)} to the first token, else most to {labels[key]}", "", {"first token": first})
