"""What the Attention page gives away: tables, and the Python that computes the same numbers."""

from functools import partial
from typing import Any

import numpy as np

from lens.ui.export import Export
from lens.ui.models import Prompt
from lens.ui.pages.attention.numbers import NAMES, Shown, table


def heads_export(shown: Shown, prompt: Prompt, measure: str, share: bool, figure: Any) -> Export:
    """The numbers of the heads that are shown, of the whole text, also where the figure draws a part."""
    payload = {
        "tokens": prompt.labels,
        "heads": shown.names,
        "number": "share of the length moved" if share and measure == "moved" else NAMES[measure],
        "first_token_hidden": shown.hidden is not None,
        "values": shown.values if measure != "log" else _logs(shown.values),
        "hidden": shown.hidden,
    }
    code = heads_code(shown, measure, share, len(prompt.labels))
    return Export("attention", figure, partial(table, shown, prompt.labels, measure), payload, code)


def heads_code(shown: Shown, measure: str, share: bool, n_tokens: int) -> str:
    """``values`` [head, query, key] as the page shows them."""
    heads = ", ".join(f"Head({layer}, {head})" for layer, head in shown.heads)
    function = "value_weighted_patterns" if measure == "moved" else "head_patterns"
    renormalise = ", renormalise=True" if share and measure == "moved" else ""
    scaled = measure != "moved" or share
    hide = shown.hidden is not None
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


def overview_export(seen: Any, prompt: Prompt, figure: Any) -> Export:
    """Habits and telling score of every head."""
    columns = dict(zip(("first_token", "previous_token", "itself", "entropy_nats"), seen.habits))
    columns |= {"telling_nats": seen.content_dependence}
    payload = {"tokens": prompt.labels, **columns, "queries": len(prompt.labels) - 1}
    code = (
        "from lens.analysis.text_attention import text_attention\n\n"
        f"seen = text_attention(model, tokens[:, :{len(prompt.labels)}])\n"
        "layer, head = divmod(int(seen.content_dependence.argmax()), model.cfg.n_heads)\n"
        "print(layer, head, seen.content_dependence[layer, head], seen.habits.first[layer, head])"
    )
    return Export("attention_of_all_heads", figure, partial(_overview_table, columns), payload, code)


def _overview_table(columns: dict[str, np.ndarray]) -> Any:
    import pandas as pd

    layer, head = np.indices(columns["telling_nats"].shape)
    return pd.DataFrame(
        {"layer": layer.ravel(), "head": head.ravel(), **{name: array.ravel() for name, array in columns.items()}}
    )


def _logs(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)
