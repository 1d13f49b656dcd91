"""Below the result: every single head, the loss of every token, and the answers before and after."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.counts import counted
from lens.analysis.interventions import CellChange, Sweep, cell_change, effect, gap_of
from lens.analysis.interventions.ablation import Chance, chance
from lens.analysis.interventions.inspect import loss_moves
from lens.analysis.interventions.one_prompt import OnePrompt, answer_kinds, one_prompt
from lens.analysis.interventions.results import Effect
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.figures.measure import Measure
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.components import chips
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.ablation import SHORT, words
from lens.ui.pages.ablation.few_shot import show_few_shot
from lens.ui.pages.ablation.head_set import show_set
from lens.ui.pages.ablation.repair import show_repair
from lens.ui.pages.ablation.request import Request, Result
from lens.ui.shared import experiments, heads
from lens.ui.shared.wording import sentence
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.widgets import number, select

WIDTH = 900  # pixels
N_TOP = 8  # tokens before and after
GRID_MISREADING = (
    "A dark head may still be part of the circuit: where another can do its work, removing one alone changes nothing. "
    "And effects of heads that need each other count the same loss twice, so their sum is no total."
)
ONE_PROMPT = (
    "One prompt is an example, not a result: another may move the other way. Losses of tokens that are hard to predict "
    "anyway move most, whatever is removed."
)
ANSWER_MISREADING = (
    "A probability moves also when other tokens gain or lose: the softmax divides one whole. Read the logits for what "
    "the removal does to this token, and the ranks for what the model would write."
)
CLICKS = "A click selects a head, a second one pins or unpins it; pinned heads are removed together."


def show_grid(view: ViewState, model: HookedTransformer, request: Request) -> None:
    """The change by every head removed alone; fills while it runs."""
    place, seed = st.empty(), view["seed"]

    def figure(change: Effect, band: Chance) -> tuple[Figure, Measure]:
        """The grid, and its numbers with what chance reaches."""
        way, unit = words.REPLACEMENTS[view["put"]].lower(), request.metric.unit
        definition = f"Metric without this head minus with it, mean over {counted(change.n, 'pair')} ({way})."
        null = None if band.reach is None else (-band.reach, band.reach)
        values = (change.value, unit, change.low, change.high)
        measure = Measure("change", definition, *values, signed=True, null=null)
        title = f"Each head of {model.name} removed alone: change of the {request.measure}"
        drawn = grid(measure, pinned=view["pins"], current=view.selected, title=title)
        return small_grid(drawn, WIDTH), measure

    def draw(sweep: Sweep) -> None:
        with place:
            parts.chart(figure(*to_numpy((effect(sweep, seed), chance(sweep, seed))))[0], "The heads removed so far")

    sweep = experiments.run(model, request.heads(view["put"]), draw).sweep
    band = analyse(chance, sweep, seed)
    drawn, change = figure(analyse(effect, sweep, seed), band)
    if not np.isfinite(change.values).any():
        return
    reach = None if change.null is None else change.null[1]
    text = words.grid_words(change.values, reach, analyse(gap_of, sweep, seed), change.unit)
    with place.container():
        if view.selected:
            heads.pin_button(view, view.selected, "ablation:pin")
        parts.head_grid(drawn, view, "ablation:grid", f"{drawn.layout.title.text}. {text}")
    measured = (("Chance", sentence(band.note)),)
    explain(view, model, Explanation(text, GRID_MISREADING, (("Clicks", CLICKS),), measured))


def show_tokens(view: ViewState, model: HookedTransformer, request: Request) -> None:
    """The loss of every token of one prompt, before and after."""
    pair = _choose_prompt(view, request)
    change = _change(view, model, request, cut=False)
    labels = token_labels(model, change.tokens)
    loss = np.concatenate([np.full((2, 1), np.nan), change.loss], axis=1)
    rise = loss[1] - loss[0]
    hover = [
        f"position {at} · loss {written(float(before))} → {written(float(after))} nats"
        for at, (before, after) in enumerate(loss.T)
    ]
    largest = float(np.nanmax(np.abs(rise), initial=0)) or 1.0
    mark = "the metric reads what is predicted here"
    scale = Scale("change of the loss (nats)", high=largest, signed=True, mark=mark)
    strip = token_strip(labels, rise, scale=scale, hover=hover, marked=request.metric.positions(len(labels)))
    chips(view, "token", strip, view["token"], "ablation:strip")
    st.caption("Choose a token to see, under Answers, what the model expects after it.")
    moves = loss_moves(change)
    text = f"On prompt {pair} no token's loss changes at all."
    if moves.at:
        text = (
            f"On prompt {pair} the loss changes most at token {moves.at}, {labels[moves.at]}: from "
            f"{written(moves.before)} to {written(moves.after)} nats. The loss of {moves.rises} of {moves.n} tokens "
            f"rises by more than 0.1 nats, of {moves.falls} it falls as much. One prompt: no interval."
        )
    explain(view, model, Explanation(text, ONE_PROMPT))


def show_answers(view: ViewState, model: HookedTransformer, request: Request) -> None:
    """The likeliest next tokens of one prompt before and after, with how their ranks move."""
    pair = _choose_prompt(view, request)
    length = len(request.task.pairs.clean[pair])
    if view["token"] is not None and view["token"] >= length:
        view.note(f"token {view['token']} does not exist in this prompt ({length} tokens): showing the last one read")
        view.set(token=None)
    change, pos = _change(view, model, request, cut=True), _position(view, request, pair)
    labels = token_labels(model, change.top)
    numbers = {
        "rank before": 1 + change.rank[0],
        "rank after": 1 + change.rank[1],
        "rank moves": change.rank[1] - change.rank[0],
        "prob before": change.prob[0],
        "prob after": change.prob[1],
        "logit change": change.logit[1] - change.logit[0],
    }
    kinds = answer_kinds(request.task.pairs, pair, change.top, pos)
    rows = pd.DataFrame({"token": labels, "is": kinds} | numbers)
    context = "".join(token_labels(model, change.tokens)[-12:])
    st.caption(f"After … {context} (position {pos} of prompt {pair}). Ranks count from 1, the likeliest.")
    columns = {name: st.column_config.NumberColumn(format="%.3f") for name in rows.columns[-3:]}
    parts.table(rows, f"Likeliest tokens at position {pos} before and after", columns)
    explain(view, model, Explanation(_answer_words(change, labels, rows), ANSWER_MISREADING))


def show_table(view: ViewState, model: HookedTransformer, request: Request, result: Result) -> None:
    """The change by every set and way of removing."""
    parts.table(words.table(result), "Change by every set and way of removing")


def _answer_words(change: CellChange, labels: list[str], rows: pd.DataFrame) -> str:
    if max(change.tied) > 1:
        sides = zip(change.tied, ("before", "after"))
        return " ".join(f"{n} of these tokens are equally likely {side}." for n, side in sides if n > 1)
    before, after = change.likeliest
    old, new = written(float(change.prob[0, before])), written(float(change.prob[1, after]))
    text = f"Likeliest before: {labels[before]} ({old}); after: {labels[after]} ({new})."
    if before == after:
        text = f"The likeliest token stays {labels[before]}: {old} before, {new} after."
    for _, row in rows[rows["is"] == "right"].iterrows():
        text += f" The right answer {row['token']} goes from rank {row['rank before']} to {row['rank after']}."
    return text


def _choose_prompt(view: ViewState, request: Request) -> int:
    last = len(request.task.pairs) - 1
    return int(number(view, "sequence", (0, last), "Prompt", "Which pair of the task, zero-based.", width=110))


def _position(view: ViewState, request: Request, pair: int) -> int:
    """The chosen token of a prompt, else the last one that the metric reads."""
    length = len(request.task.pairs.clean[pair])
    return max(request.metric.positions(length)) if view["token"] is None else int(view["token"])


def prompt_of(view: ViewState, request: Request, cut: bool) -> OnePrompt:
    """The prompt that the tab of tokens shows, or, ``cut`` after the chosen token, that of answers."""
    pair = int(view["sequence"])
    return one_prompt(request.experiment(view["put"]), pair, _position(view, request, pair) if cut else None)


def _change(view: ViewState, model: HookedTransformer, request: Request, cut: bool) -> CellChange:
    """What the chosen set does to that prompt."""
    prompt = prompt_of(view, request, cut)
    return analyse(cell_change, model, prompt.experiment, request.cells.target.cell, prompt.pair, 0, N_TOP)


def with_replacement(draw_tab: Callable[[ViewState, HookedTransformer, Request], None]) -> Callable[..., None]:
    """The tab below a list of what replaces the output of a head."""

    def draw(view: ViewState, model: HookedTransformer, request: Request, result: Result) -> None:
        options = words.REPLACEMENTS
        select(view, "put", tuple(SHORT), "Put in place", words.REPLACEMENT_HELP, format_func=options.get, width=230)
        draw_tab(view, model, request)

    return draw


TABS = {
    "grid": ("All single heads", with_replacement(show_grid)),
    "set": ("A set of heads", with_replacement(show_set)),
    "repair": ("Self-repair", with_replacement(show_repair)),
    "few_shot": ("Few-shot", show_few_shot),
    "tokens": ("Loss by token", with_replacement(show_tokens)),
    "answers": ("Answers", with_replacement(show_answers)),
    "table": ("All numbers", show_table),
}
