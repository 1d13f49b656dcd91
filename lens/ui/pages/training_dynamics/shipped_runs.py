"""How the shipped models were made, and the runs that were not chosen, beside those that were."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from lens.figures.training import Axis, Panel, Trace, training
from lens.load.files import read_json
from lens.load.training_records import RunRow, training_runs
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.training_dynamics.controls import Choices
from lens.ui.pages.training_dynamics.figure import NOTHING, title_of
from lens.ui.pages.training_dynamics.run_curves import RunCurves
from lens.ui.view import ViewState

RULE = (
    "Of the runs of a depth with repeats, the one is shipped whose last checkpoint has the highest prefix-matching "
    "score of any head minus its control, a rule written down before the first run ended; lens-1l, where there is "
    "nothing to choose by, has the seed of lens-2l. Seeds differ in initial weights and in where repeats fall, not in "
    "the order of contexts, so their spread is a lower bound."
)
MISREADING = (
    "Runs of one recipe that end alike do not show that the recipe makes such heads: they share data, order and size. "
    "And the best head of a run is another one in each; its number says nothing about a head with the same name."
)
COLUMNS = ("model", "seed", "repeat_share", "shipped", "tokens", "held_out_loss", "prefix_matching", "prefix_control",
           "best_head", "previous_token", "first_copy_loss", "second_copy_loss", "second_copy_top1")  # fmt: skip


def show_runs(view: ViewState, runs: Sequence[RunCurves], choices: Choices) -> None:
    """The score of every run of the shipped models on the page, and the last row of each."""
    recorded = training_runs()
    ours = [run for run in runs if any(row.model == run.name for row in recorded)]
    if not ours:
        parts.not_computed("none of these runs comes with Lens: nothing is known of other seeds.")
        return
    numbers = {run.name: run.number for run in ours}
    rows = grouped([row for row in recorded if row.model in numbers])
    traces = [_trace(run, numbers[run[0].model]) for run in rows]
    title = "Prefix matching of the best head, control not subtracted; solid: shipped, dotted: without repeats"
    words = notice(rows)
    figure = training([Panel(title, traces)], Axis("training tokens", choices.log), title="")
    parts.chart(figure, alt=words, key="dynamics:runs")
    recipes = f"{' '.join(map(recipe_words, ours))} {RULE}"
    explain(view, None, Explanation(words, MISREADING, (("How they were made", recipes),)))
    table = pd.DataFrame([{name: getattr(run[-1], name) for name in COLUMNS} for run in rows])
    st.dataframe(table, hide_index=True, alt=f"The last scores of {len(rows)} training runs")


def grouped(rows: Sequence[RunRow]) -> list[list[RunRow]]:
    """The rows of each run, in order of training; shipped runs first."""
    runs: dict[tuple, list[RunRow]] = {}
    for row in rows:
        runs.setdefault((not row.shipped, row.model, row.repeat_share, row.seed), []).append(row)
    return [sorted(runs[key], key=lambda row: row.tokens) for key in sorted(runs)]


def notice(runs: Sequence[Sequence[RunRow]]) -> str:
    """What the runs end at, model by model."""
    sentences = []
    for model in dict.fromkeys(rows[0].model for rows in runs):
        last = [rows[-1] for rows in runs if rows[0].model == model]
        ends = "; ".join(f"{_name(row)} {row.prefix_matching:.2f}" for row in last)
        alone = " No other run of it was finished." if len(last) == 1 else ""
        sentences.append(f"{model} ends at {ends}.{alone}")
    return " ".join(sentences)


def recipe_words(run: RunCurves) -> str:
    """How one shipped model was trained, from its own recipe."""
    recipe = read_json(run.checkpoints.entry.path / "recipe.json")
    return (
        f"{title_of(run)}: {recipe['steps']:,} steps of {recipe['batch']} × {recipe['n_ctx']} tokens, seed "
        f"{recipe['seed']}; Muon (rate {recipe['muon_rate']:g}) on the attention matrices, AdamW "
        f"({recipe['adam_rate']:g}) on the rest; {recipe['repeat_share']:.0%} of contexts repeat one of their own "
        "passages, and random tokens were never trained on."
    )


def _trace(rows: Sequence[RunRow], run: int) -> Trace:
    x = np.array([row.tokens for row in rows], np.float64)
    y = np.array([row.prefix_matching for row in rows])
    dash = None if rows[0].shipped else "dot" if rows[0].repeat_share == 0 else "dash"
    return Trace(f"{rows[0].model}, {_name(rows[0])}", x, y, NOTHING, run, dash=dash, legend=True)


def _name(row: RunRow) -> str:
    repeats = f"{row.repeat_share:.0%} repeats" if row.repeat_share else "no repeats"
    return f"seed {row.seed}, {repeats}{' (shipped)' if row.shipped else ''}"
