"""What one cell of the map changed in one prompt, in its prediction and its attention, and in every prompt."""

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.interventions import CellChange, Pairs, cell_change
from lens.analysis.interventions.map import head_of, pair_changes, place_of
from lens.analysis.interventions.one_prompt import answer_kinds
from lens.analysis.interventions.plan import ABSENT
from lens.analysis.names import Head
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.patching import words
from lens.ui.pages.patching.request import PatchMap
from lens.ui.shared import heads
from lens.ui.shared.tasks import pair_table
from lens.ui.shared.wording import capital, plain
from lens.ui.view import ViewState
from lens.ui.widgets import number

N_TOP = 8  # tokens of each prediction
N_KEYS = 5  # tokens that the head attends to most
PAIR_HELP = "Which pair is looked at, counted from 1. The map is the average over all of them."
HEIGHT = 320  # pixels
MISREADING = (
    "One pair is an example: the map averages over all. And a probability also moves when other tokens gain or lose, "
    "so compare ranks and the metric."
)


PAIR_MISREADING = (
    "A single pair has no share of its own: its gap may be small, and its share wild. The map divides sums."
)


def show_cell(view: ViewState, model: HookedTransformer, result: PatchMap, cell: tuple[int, int]) -> None:
    """The panel beside the map."""
    experiment, sweep = result.request.experiment, result.sweep
    name, head, place = words.cell_name(result, cell), head_of(sweep, cell), place_of(sweep, cell)
    st.markdown("**What this cell changes.** Click a cell of the map; without a click it is the largest.")
    if head is not None:
        heads.pin_button(view, head, "patching:pin")
    pair = int(number(view, "prompt_pair", (1, len(experiment.pairs)), "Pair", PAIR_HELP, width=110)) - 1
    if int(sweep.status[cell][pair]) == ABSENT:
        parts.not_computed(f"pair {pair + 1} has only {len(experiment.pairs.clean[pair])} tokens. Choose another pair.")
        return
    change = analyse(cell_change, model, experiment, (place,), pair=pair, layer=place.layer, n_top=N_TOP)
    labels = token_labels(model, change.top)
    st.markdown(f"**{plain(capital(name))}**, pair {pair + 1}")
    columns = {
        "before": st.column_config.NumberColumn(help="Probability before the change", format="percent"),
        "after": st.column_config.NumberColumn(help="Probability after the change", format="percent"),
        "rank": st.column_config.TextColumn(help="Among all tokens, 1 is the likeliest; before → after"),
        "is": st.column_config.TextColumn(help="Right or wrong answer of the clean prompt"),
    }
    alt = f"Likeliest next tokens before and after {name} is replaced in pair {pair + 1}"
    parts.table(answer_table(experiment.pairs, change, labels, pair), alt, columns, HEIGHT)
    values = (float(run[pair]) for run in (sweep.base, sweep.values[cell], sweep.other))
    before, after, other = map(written, values)
    metric = f"Metric: {before} before, {after} after, {other} in the run it came from."
    parts.aside("This cell", notice(experiment.pairs, change, labels, pair, metric))  # the map has the notice
    parts.misreading(MISREADING)
    if head is not None:
        _show_attention(model, change, head)


def answer_table(pairs: Pairs, change: CellChange, labels: list[str], pair: int) -> pd.DataFrame:
    """One row per token: probability and rank before and after, and whether it is an answer."""
    kinds = answer_kinds(pairs, pair, change.top)
    ranks = [
        f"{before:,} → {after:,}" if before != after else f"{before:,}"
        for before, after in (1 + change.rank).T.tolist()
    ]
    columns = {"token": labels, "before": change.prob[0], "after": change.prob[1], "rank": ranks, "is": kinds}
    likeliest = np.argsort(-change.prob.max(0), kind="stable")  # what either run expects stands on top
    return pd.DataFrame(columns).iloc[likeliest]


def notice(pairs: Pairs, change: CellChange, labels: list[str], pair: int, metric: str) -> str:
    """The likeliest token before and after, the right answer's rank, and the ``metric``, in one or two sentences."""
    if max(change.tied) > 1:
        return f"{max(change.tied)} tokens are equally likely: none of them leads."
    tops = change.likeliest
    before, after = (f"{labels[top].strip()} ({change.prob[side, top]:.0%})" for side, top in enumerate(tops))
    text = f"Likeliest next: {before} before, {after} after."
    if tops[0] == tops[1]:
        text = f"The likeliest token stays {before}, {change.prob[1, tops[1]]:.0%} after the change."
    if pairs.answers:
        at = change.top.tolist().index(pairs.answers[pair][0])
        ranks = (1 + change.rank[:, at]).tolist()
        text += f" The right answer {labels[at].strip()} goes from rank {ranks[0]:,} to {ranks[1]:,}."
    return f"{text} {metric}"


def _show_attention(model: HookedTransformer, change: CellChange, head: Head) -> None:
    """Where the head looks from the last token, before and after: the keys that either run attends to most."""
    rows, labels = change.pattern[:, head.head, -1], token_labels(model, change.tokens)
    keys = np.argsort(-rows.max(0), kind="stable")[:N_KEYS]
    same = np.allclose(*rows, atol=1e-6)  # what is replaced comes after the pattern
    sides = {"before and after": rows[0]} if same else {"before": rows[0], "after": rows[1]}
    columns = {"looks at": [f"{key} {labels[key].strip()}" for key in keys]}
    columns |= {name: row[keys] for name, row in sides.items()}
    st.markdown(f"Attention of **{head}** from the last token")
    alt = f"Attention of head {head} from the last token before and after the change"
    parts.table(pd.DataFrame(columns), alt)


def show_prompts(view: ViewState, model: HookedTransformer, result: PatchMap, cell: tuple[int, int]) -> None:
    """Every pair by itself: prompts, and the metric before, after and in the other run."""
    name, sweep, changes = words.cell_name(result, cell), result.sweep, pair_changes(result.sweep, cell)
    frame = pair_table(model, result.request.task.pairs)
    runs = {"before": sweep.base, "after": sweep.values[cell], "other run": sweep.other}
    parts.table(frame.assign(**runs), f"Every pair by itself, with {name} replaced")
    text = "No pair has this position."
    if changes is not None:
        text = (
            f"With {name} replaced, the change of single pairs runs from {written(changes.low)} to "
            f"{written(changes.high)} {result.unit}, its median is {written(changes.median)} (n = {changes.n})."
        )
    explain(view, model, Explanation(text, PAIR_MISREADING))
