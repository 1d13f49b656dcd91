"""What one cell of the map changed in one prompt: the prediction before and after, and where the head looks."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.names import Head
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.patching import words
from lens.ui.pages.patching.map import column_labels, head_of
from lens.ui.pages.patching.read import Found
from lens.ui.shared import heads
from lens.ui.view import ViewState
from lens.ui.widgets import number

N_TOP = 8  # tokens of each prediction
N_LOOKS = 5  # tokens that the head looks at most
PAIR_HELP = "Which pair is looked at, counted from 1. The map is the average over all of them."
HEIGHT = 320  # pixels
MISREADING = (
    "One pair is an example: the map averages over all. And a probability also moves when other tokens gain or lose, "
    "so compare ranks and the metric."
)
ABSENT = 3  # of lens.analysis.interventions.STATUS


def show_cell(view: ViewState, model: Any, found: Found, chosen: tuple[int, int]) -> None:
    """The panel beside the map."""
    experiment, columns = found.look.experiment, column_labels(model, found)
    name = words.cell_name(found, chosen, columns)
    st.markdown("**What this cell changes.** Click a cell of the map; without a click it is the largest.")
    head = head_of(found, chosen)
    if head is not None:
        heads.pin_button(view, head, "patching:pin")
    pair = int(number(view, "prompt_pair", (1, len(experiment.pairs)), "Pair", PAIR_HELP, width=110)) - 1
    if int(found.sweep.status[chosen][pair]) == ABSENT:
        parts.not_computed(f"pair {pair + 1} has only {len(experiment.pairs.clean[pair])} tokens. Choose another pair.")
        return
    change = change_of(model, found, chosen, pair)
    labels = token_labels(model, change.top)
    table = answer_table(experiment.pairs, change, labels, pair)
    st.markdown(f"**{_title(name)}**, pair {pair + 1}")
    columns_shown = {
        "before": st.column_config.NumberColumn(help="Probability before the change", format="percent"),
        "after": st.column_config.NumberColumn(help="Probability after the change", format="percent"),
        "rank": st.column_config.TextColumn(help="Number of tokens that score higher, before → after"),
        "is": st.column_config.TextColumn(help="Right or wrong answer of the clean prompt"),
    }
    st.dataframe(
        table,
        hide_index=True,
        height=HEIGHT,
        column_config=columns_shown,
        alt=f"Likeliest next tokens before and after {name} is replaced in pair {pair + 1}",
    )
    text = notice(experiment.pairs, change, labels, pair, _values(found, chosen, pair))
    explain(view, None, Explanation(text, MISREADING))
    if head is not None:
        _show_attention(model, change, head)


def change_of(model: Any, found: Found, chosen: tuple[int, int], pair: int) -> Any:
    """One plain forward pass with the cell replaced, and one without."""
    from lens.analysis.interventions import cell_change, find_site

    experiment = found.look.experiment
    site = find_site(found.look.site, model.cfg)
    cells = experiment.grid.cells(site, model.cfg, experiment.pairs.n_pos)
    cell = cells[int(np.ravel_multi_index(chosen, found.sweep.values.shape[:2]))]
    return analyse(cell_change, model, experiment, cell, pair=pair, layer=cell[0].layer, n_top=N_TOP)


def answer_table(pairs: Any, change: Any, labels: list[str], pair: int) -> pd.DataFrame:
    """One row per token: probability and rank before and after, and whether it is an answer."""
    right, wrong = (set(all_[pair]) if all_ else set() for all_ in (pairs.answers, pairs.wrong))
    kinds = ["right" if int(i) in right else "wrong" if int(i) in wrong else "" for i in change.top]
    ranks = [
        f"{before:,} → {after:,}" if before != after else f"{before:,}" for before, after in change.rank.T.tolist()
    ]
    columns = {"token": labels, "before": change.prob[0], "after": change.prob[1], "rank": ranks, "is": kinds}
    likeliest = np.argsort(-change.prob.max(0), kind="stable")  # what either run expects stands on top
    return pd.DataFrame(columns).iloc[likeliest]


def notice(pairs: Any, change: Any, labels: list[str], pair: int, values: tuple[float, float, float]) -> str:
    """The likeliest token before and after, the right answer's rank, and the metric, in one or two sentences."""
    if max(change.tied) > 1:
        return f"{max(change.tied)} tokens are equally likely: none of them leads."
    tops = change.likeliest
    before, after = (f"{labels[top].strip()} ({change.prob[side, top]:.0%})" for side, top in enumerate(tops))
    text = f"Likeliest next: {before} before, {after} after."
    if tops[0] == tops[1]:
        text = f"The likeliest token stays {before}, {change.prob[1, tops[1]]:.0%} after the change."
    if pairs.answers:
        at = change.top.tolist().index(pairs.answers[pair][0])
        ranks = change.rank[:, at].tolist()
        text += f" The right answer {labels[at].strip()} goes from rank {ranks[0]:,} to {ranks[1]:,}."
    base, here, other = map(said, values)
    return f"{text} Metric: {base} before, {here} after, {other} in the run it came from."


def _values(found: Found, chosen: tuple[int, int], pair: int) -> tuple[float, float, float]:
    sweep = found.sweep
    return float(sweep.base[pair]), float(sweep.values[chosen][pair]), float(sweep.other[pair])


def _show_attention(model: Any, change: Any, head: Head) -> None:
    """Where the head looks from the last token, before and after: the places that either run looks at most."""
    rows = change.pattern[:, head[1], -1]
    places = np.argsort(-rows.max(0), kind="stable")[:N_LOOKS]
    labels = token_labels(model, change.tokens)
    columns = {"looks at": [f"{place} {labels[place].strip()}" for place in places], "before": rows[0, places]}
    if np.allclose(*rows, atol=1e-6):
        columns["before and after"] = columns.pop("before")  # what is replaced comes after the pattern
    else:
        columns["after"] = rows[1, places]
    alt = f"Attention of head {head[0]}.{head[1]} from the last token before and after the change"
    st.markdown(f"Attention of **{head[0]}.{head[1]}** from the last token")
    st.dataframe(pd.DataFrame(columns), hide_index=True, alt=alt)


def _title(name: str) -> str:
    """A name of a cell inside markdown; it may hold a stranger's token."""
    shown = name[:1].upper() + name[1:]
    return "".join(f"\\{one}" if one in r"\`*_{}[]<>()#+-!|$~:" else one for one in shown)
