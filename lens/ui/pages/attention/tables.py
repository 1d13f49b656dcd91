"""What the Attention page gives away: tables, and the Python that computes the same numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.ui.export import Export
from lens.ui.pages.attention.numbers import HeadValues

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.analysis.text_attention import TextAttention
    from lens.ui.models import Prompt

NAMES = {"attention": "attention", "log": "log_attention_nats", "moved": "attention_times_value_length"}


def heads_export(of: HeadValues, prompt: Prompt, measure: str, share: bool, figure: Figure) -> Export:
    """The numbers of the heads that are drawn, of the whole text, also where the figure draws a part."""
    values = of.values
    if measure == "log":
        with np.errstate(divide="ignore"):
            values = np.log(values)
    payload = {
        "tokens": prompt.labels,
        "heads": of.names,
        "number": "share of the length moved" if share and measure == "moved" else NAMES[measure],
        "first_token_hidden": of.hidden is not None,
        "values": values,
        "hidden": of.hidden,
    }
    rows = partial(_pairs, of.names, values, prompt.labels, NAMES[measure])
    return Export("attention", figure, rows, payload, heads_code(of, measure, share, len(prompt.labels)))


def _pairs(names: list[str], values: np.ndarray, labels: list[str], measure: str) -> pd.DataFrame:
    """One row per head, query and key that it may see."""
    query, key = np.tril_indices(len(labels))
    tokens = np.array(labels, dtype=object)
    same = {"query": query, "query_token": tokens[query], "key": key, "key_token": tokens[key]}
    rows = [pd.DataFrame({"head": name, **same, measure: one[query, key]}) for name, one in zip(names, values)]
    return pd.concat(rows, ignore_index=True)


def heads_code(of: HeadValues, measure: str, share: bool, n_tokens: int) -> str:
    """``values`` [head, query, key] as the page draws them."""
    heads = ", ".join(f"Head({layer}, {head})" for layer, head in of.heads)
    function = "value_weighted_patterns" if measure == "moved" else "head_patterns"
    renormalise = ", renormalise=True" if share and measure == "moved" else ""
    scaled = measure != "moved" or share
    hide = of.hidden is not None
    imports = [function, *(["hide_first"] if hide and scaled else [])]
    lines = [
        f"from lens.analysis.attention import {', '.join(sorted(imports))}",
        "from lens.analysis.names import Head",
        "",
        f"heads = [{heads}]",
        f"values = {function}(model, tokens[:, :{n_tokens}], heads{renormalise}).pattern[0]  # [head, query, key]",
    ]
    if hide:
        lines.append("values = hide_first(values).pattern" if scaled else "values[:, :, 0] = 0")
    if measure == "log":
        lines.append("values = values.log()  # nats")
    lines.append(f"print(values[0, {n_tokens - 1}])  # where the last token looks")
    return "\n".join(lines)


def overview_export(attention: TextAttention, prompt: Prompt, figure: Figure) -> Export:
    """Habits and content dependence of every head."""
    columns = dict(zip(("first_token", "previous_token", "itself", "entropy_nats"), attention.habits))
    columns |= {"content_dependence_nats": attention.content_dependence}
    payload = {"tokens": prompt.labels, **columns, "queries": len(prompt.labels) - 1}
    code = (
        "from lens.analysis.text_attention import text_attention\n\n"
        f"seen = text_attention(model, tokens[:, :{len(prompt.labels)}])\n"
        "layer, head = divmod(int(seen.content_dependence.argmax()), model.cfg.n_heads)\n"
        "print(layer, head, seen.content_dependence[layer, head], seen.habits.first[layer, head])"
    )
    return Export("attention_of_all_heads", figure, partial(_every_head, columns), payload, code)


def _every_head(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    layer, head = np.indices(columns["content_dependence_nats"].shape)
    return pd.DataFrame({name: np.ravel(of) for name, of in {"layer": layer, "head": head, **columns}.items()})
